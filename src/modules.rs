//! Loading: a spec and everything that it uses (rule R8).
//!
//! Nothing here touches the file system; whoever loads brings [`Files`].

use crate::ast::{self, FileId, Span};
use crate::diagnostic::{Diagnostic, Sources};
use crate::{parse, shipped, suggest};
use rustc_hash::FxHashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Access to files.
pub trait Files {
    /// The bytes of a file; an error of kind `NotFound` if there is none.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

impl<F: Fn(&Path) -> io::Result<Vec<u8>>> Files for F {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self(path)
    }
}

/// No files at all: only shipped specs are found.
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// Index of a module among [`Modules`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModuleId(pub u32);

/// One file, parsed, with what its `use` lines mean.
#[derive(Debug)]
pub struct Module {
    /// What other files call it: the file's name without `.loss`.
    pub name: Arc<str>,
    pub file: FileId,
    pub ast: ast::File,
    /// One for each name after `use`, in order.
    pub imports: Vec<(ast::Name, ModuleId)>,
}

/// A spec and all that it uses.
#[derive(Debug)]
pub struct Modules {
    pub sources: Sources,
    /// The file asked for; what it uses comes after it.
    pub root: ModuleId,
    modules: Vec<Module>,
}

/// What could not be loaded, with the texts that its messages point into.
#[derive(Debug)]
pub struct Failure {
    pub sources: Sources,
    pub diagnostics: Vec<Diagnostic>,
}

impl Modules {
    pub fn get(&self, id: ModuleId) -> &Module {
        &self.modules[id.0 as usize]
    }

    pub fn root(&self) -> &Module {
        self.get(self.root)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Module> {
        self.modules.iter()
    }
}

/// Loads a SPEC of the command line: a path, or the name of a shipped loss.
pub fn load(spec: &str, files: &dyn Files) -> Result<Modules, Box<Failure>> {
    let loader = Loader::new(files);
    let path = Path::new(spec);
    let bytes = match files.read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            if error.kind() == io::ErrorKind::NotFound
                && let Some(text) = shipped::text(spec)
            {
                return loader.finish(
                    spec.into(),
                    format!("{spec}.loss").into(),
                    text.into(),
                    Place::Shipped,
                );
            }
            return Err(loader.fail(missing(spec, &error)));
        }
    };
    let dir = path.parent().unwrap_or(Path::new("")).to_path_buf();
    match parse::decode(spec, bytes) {
        Ok(text) => loader.finish(stem(path), spec.into(), text.into(), Place::Dir(dir)),
        Err(diagnostic) => Err(loader.fail(diagnostic)),
    }
}

/// Loads a text that is in no file, such as standard input; `use` looks in the working directory.
pub fn load_text(name: &str, text: &str, files: &dyn Files) -> Result<Modules, Box<Failure>> {
    Loader::new(files).finish(
        stem(Path::new(name)),
        name.into(),
        text.into(),
        Place::Dir(PathBuf::new()),
    )
}

fn stem(path: &Path) -> Arc<str> {
    path.file_stem()
        .map_or("".into(), |s| s.to_string_lossy().into())
}

fn missing(spec: &str, error: &io::Error) -> Diagnostic {
    if error.kind() != io::ErrorKind::NotFound {
        return Diagnostic::data(format!("cannot read `{spec}`: {error}"));
    }
    let looks_like_path = spec.contains(['/', '\\']) || spec.ends_with(".loss");
    let out = if looks_like_path {
        Diagnostic::data(format!("there is no file `{spec}`"))
    } else {
        Diagnostic::data(format!("`{spec}` is neither a file nor a shipped loss"))
    };
    let name = stem(Path::new(spec));
    match suggest::closest(&name, shipped::all().iter().map(|(n, _)| *n)) {
        Some(s) if s == &*name => out.help(format!("there is a shipped loss of this name: `{s}`")),
        Some(s) => out.help(format!("did you mean the shipped loss `{s}`?")),
        None => out.help("`losscc list` shows the shipped losses"),
    }
}

/// Where a module's own `use` looks first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Place {
    Dir(PathBuf),
    Shipped,
}

/// What identifies a module: two `use` lines that lead to one file share it.
type Key = (Place, Arc<str>);

struct Loader<'f> {
    files: &'f dyn Files,
    sources: Sources,
    modules: Vec<Module>,
    known: FxHashMap<Key, ModuleId>,
    /// The modules whose imports are being loaded, the outermost first.
    open: Vec<ModuleId>,
    diagnostics: Vec<Diagnostic>,
}

impl<'f> Loader<'f> {
    fn new(files: &'f dyn Files) -> Loader<'f> {
        Loader {
            files,
            sources: Sources::default(),
            modules: vec![],
            known: FxHashMap::default(),
            open: vec![],
            diagnostics: vec![],
        }
    }

    fn fail(self, diagnostic: Diagnostic) -> Box<Failure> {
        Box::new(Failure {
            sources: self.sources,
            diagnostics: vec![diagnostic],
        })
    }

    fn finish(
        mut self,
        name: Arc<str>,
        title: Arc<str>,
        text: Arc<str>,
        place: Place,
    ) -> Result<Modules, Box<Failure>> {
        let root = self.module(name, title, text, place);
        match root {
            Some(root) if self.diagnostics.is_empty() => Ok(Modules {
                sources: self.sources,
                root,
                modules: self.modules,
            }),
            _ => Err(Box::new(Failure {
                sources: self.sources,
                diagnostics: self.diagnostics,
            })),
        }
    }

    /// Parses a text and loads what it uses.
    fn module(
        &mut self,
        name: Arc<str>,
        title: Arc<str>,
        text: Arc<str>,
        place: Place,
    ) -> Option<ModuleId> {
        let file = self.sources.add(title, text);
        let ast = match parse::parse(&self.sources, file) {
            Ok(ast) => ast,
            Err(diagnostics) => {
                self.diagnostics.extend(diagnostics);
                return None;
            }
        };
        let id = ModuleId(self.modules.len() as u32);
        self.known.insert((place.clone(), name.clone()), id);
        let names: Vec<ast::Name> = ast.imports.iter().map(|i| i.name.clone()).collect();
        self.modules.push(Module {
            name,
            file,
            ast,
            imports: vec![],
        });
        self.open.push(id);
        for import in names {
            let found = stacker::maybe_grow(1 << 17, 1 << 20, || self.import(&import, &place));
            if let Some(found) = found {
                self.modules[id.0 as usize].imports.push((import, found));
            }
        }
        self.open.pop();
        Some(id)
    }

    fn import(&mut self, name: &ast::Name, place: &Place) -> Option<ModuleId> {
        if let Place::Dir(dir) = place {
            if let Some(&id) = self.known.get(&(place.clone(), name.text.clone())) {
                return self.reuse(id, name.span);
            }
            let path = dir.join(format!("{}.loss", name.text));
            match self.files.read(&path) {
                Ok(bytes) => {
                    let title = path.to_string_lossy().to_string();
                    return match parse::decode(&title, bytes) {
                        Ok(text) => {
                            self.module(name.text.clone(), title.into(), text.into(), place.clone())
                        }
                        Err(diagnostic) => {
                            self.diagnostics.push(diagnostic.at(name.span, "used here"));
                            None
                        }
                    };
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let title = format!("cannot read `{}`: {error}", path.display());
                    self.diagnostics
                        .push(Diagnostic::data(title).at(name.span, "used here"));
                    return None;
                }
            }
        }
        if let Some(&id) = self.known.get(&(Place::Shipped, name.text.clone())) {
            return self.reuse(id, name.span);
        }
        match shipped::text(&name.text) {
            Some(text) => self.module(
                name.text.clone(),
                format!("{}.loss", name.text).into(),
                text.into(),
                Place::Shipped,
            ),
            None => {
                self.unknown(name);
                None
            }
        }
    }

    /// A module that is known already; one whose own imports are still being loaded uses itself.
    fn reuse(&mut self, id: ModuleId, span: Span) -> Option<ModuleId> {
        let Some(at) = self.open.iter().position(|&m| m == id) else {
            return Some(id);
        };
        let mut chain: Vec<String> = self.open[at..]
            .iter()
            .map(|m| format!("`{}`", self.modules[m.0 as usize].name))
            .collect();
        chain.push(chain[0].clone());
        self.diagnostics.push(
            Diagnostic::error(format!("{} uses itself", chain[0]))
                .at(span, "the circle closes here")
                .note(format!("the chain is {}", chain.join(" -> ")))
                .help("move what both need into a file of its own"),
        );
        None
    }

    fn unknown(&mut self, name: &ast::Name) {
        let out = Diagnostic::error(format!("there is no spec `{}`", name.text)).at(
            name.span,
            format!(
                "neither `{}.loss` beside this file nor a shipped spec",
                name.text
            ),
        );
        let names = shipped::all().iter().map(|(n, _)| *n);
        self.diagnostics
            .push(match suggest::closest(&name.text, names) {
                Some(s) => out.help(format!("did you mean `{s}`?")),
                None => out,
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Class;

    /// Files by path; a text that begins with 0xff is not UTF-8, one named `locked` cannot be read.
    fn files(list: &'static [(&'static str, &'static [u8])]) -> impl Files {
        move |path: &Path| {
            let name = path.to_string_lossy().replace('\\', "/");
            if name.ends_with("locked.loss") {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            let found = list.iter().find(|(n, _)| *n == name);
            found
                .map(|(_, b)| b.to_vec())
                .ok_or(io::ErrorKind::NotFound.into())
        }
    }

    fn names(modules: &Modules) -> Vec<String> {
        modules
            .iter()
            .map(|m| modules.sources.get(m.file).name.to_string())
            .collect()
    }

    fn said(result: Result<Modules, Box<Failure>>) -> (Class, String) {
        let failure = result.unwrap_err();
        let d = &failure.diagnostics[0];
        let more: Vec<&str> = d.notes.iter().chain(&d.help).map(String::as_str).collect();
        (d.class, format!("{}; {}", d.title, more.join("; ")))
    }

    #[test]
    fn a_file_beside_comes_before_a_shipped_spec() {
        let files = files(&[
            ("dir/a.loss", b"use iou, lib\nloss a = mean(lib.f(x))"),
            ("dir/lib.loss", b"use iou\ndef f(x) = x"),
            ("dir/iou.loss", b"loss iou = mean(x)"),
        ]);
        let modules = load("dir/a.loss", &files).unwrap();
        assert_eq!(
            names(&modules),
            ["dir/a.loss", "dir/iou.loss", "dir/lib.loss"]
        );
        let shipped = load("giou", &files).unwrap();
        assert_eq!(names(&shipped), ["giou.loss", "iou.loss"]);
        let text = load_text("<stdin>", "use rmse\nloss a = rmse(x, y)", &NoFiles).unwrap();
        assert_eq!(names(&text), ["<stdin>", "rmse.loss", "mse.loss"]);
    }

    #[test]
    fn a_path_comes_before_a_shipped_name() {
        let files = files(&[("huber", b"loss own = mean(x)")]);
        let modules = load("huber", &files).unwrap();
        assert!(
            modules
                .root()
                .ast
                .loss
                .as_ref()
                .is_some_and(|l| *l.name.text == *"own")
        );
    }

    #[test]
    fn a_spec_that_uses_itself_shows_the_chain() {
        let list = files(&[
            ("a.loss", b"use b\nloss a = b(x)"),
            ("b.loss", b"use c\nloss b = c(x)"),
            ("c.loss", b"use b\nloss c = b(x)"),
            ("own.loss", b"use own\nloss own = own(x)"),
        ]);
        let (class, text) = said(load("a.loss", &list));
        assert_eq!(class, Class::Spec);
        assert!(
            text.starts_with("`b` uses itself; the chain is `b` -> `c` -> `b`"),
            "{text}"
        );
        assert!(said(load("own.loss", &list)).1.contains("`own` -> `own`"));
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let list = files(&[
            ("bytes.loss", b"loss a = mean(x)\n// \xff"),
            ("bad.loss", b"use bytes\nloss a = mean(x)"),
            ("needs.loss", b"use nowhere_to_be_found\nloss a = mean(x)"),
            ("shut.loss", b"use locked\nloss a = mean(x)"),
        ]);
        for (spec, class, text) in [
            (
                "huberr",
                Class::Data,
                "`huberr` is neither a file nor a shipped loss; did you mean the shipped loss `huber`?",
            ),
            (
                "specs/hubr.loss",
                Class::Data,
                "there is no file `specs/hubr.loss`; did you mean the shipped loss `huber`?",
            ),
            (
                "locked.loss",
                Class::Data,
                "cannot read `locked.loss`: permission denied; ",
            ),
            (
                "bytes.loss",
                Class::Data,
                "`bytes.loss` is not UTF-8: byte 20 (line 2) is 0xff; save the file as UTF-8",
            ),
            ("bad.loss", Class::Data, "`bytes.loss` is not UTF-8"),
            (
                "needs.loss",
                Class::Spec,
                "there is no spec `nowhere_to_be_found`; ",
            ),
            (
                "shut.loss",
                Class::Data,
                "cannot read `locked.loss`: permission denied; ",
            ),
        ] {
            let found = said(load(spec, &list));
            assert!(
                found.0 == class && found.1.starts_with(text),
                "{spec}: {found:?}"
            );
        }
    }
}
