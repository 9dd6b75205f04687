//! A program under test.

use crate::term::{Term, Ty};

/// Axes that have one extent.
#[derive(Clone, Debug)]
pub struct Class {
    /// All of them run over the same elements; the first names the positions of inputs.
    pub axes: Vec<String>,
    pub rule: Rule,
}

/// Where an extent comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    Input,
    /// The shape of the inputs without a type.
    Star,
    Constant(usize),
    /// An int hyperparameter, which is not changed.
    Param(String, usize),
    /// `factor * size(class) + plus`
    Linear(usize, usize, usize),
    Joined(usize, usize),
}

#[derive(Clone, Debug)]
pub struct Input {
    pub name: String,
    pub ty: Ty,
    pub dims: Vec<usize>,
    pub differentiated: bool,
    /// An int that indexes the elements of a class.
    pub indexes: Option<usize>,
}

#[derive(Clone, Debug)]
pub struct Function {
    pub name: String,
    pub signature: String,
    pub body: Term,
}

#[derive(Clone, Debug)]
pub struct Definition {
    pub name: String,
    /// The axes as they are written, brackets included, or nothing.
    pub head: String,
    pub body: Term,
}

#[derive(Clone, Debug, Default)]
pub struct Program {
    pub classes: Vec<Class>,
    pub inputs: Vec<Input>,
    /// Names and declarations, `p = 0.5`.
    pub params: Vec<(String, String)>,
    pub functions: Vec<Function>,
    pub definitions: Vec<Definition>,
    pub value: Term,
    /// Axes that are declared, by name, with their extent.
    pub declared: Vec<(String, String)>,
}

impl Program {
    /// The text, with what the value needs only.
    pub fn render(&self) -> String {
        let value = self.value.render();
        let mut needed = words(&value);
        let mut next = 0;
        loop {
            while next < needed.len() {
                for text in self.meaning(&needed[next]) {
                    for word in words(&text) {
                        if !needed.contains(&word) {
                            needed.push(word);
                        }
                    }
                }
                next += 1;
            }
            match self.missing(&needed) {
                Some(input) => needed.push(input),
                None => return self.text(&value, &needed),
            }
        }
    }

    /// An input that says what the extent of some needed axis is.
    fn missing(&self, needed: &[String]) -> Option<String> {
        for (c, class) in self.classes.iter().enumerate() {
            let at = |i: &&Input| i.dims.contains(&c);
            let wanted = class.axes.iter().any(|a| {
                let a = if a == "*" { "STAR" } else { a };
                needed.iter().any(|n| n == a)
            });
            let known = |i: &Input| needed.contains(&i.name);
            let open = matches!(class.rule, Rule::Input | Rule::Star);
            if wanted && open && !self.inputs.iter().filter(at).any(known) {
                let all = self.inputs.iter().filter(at);
                return all.min_by_key(|i| i.dims.len()).map(|i| i.name.clone());
            }
        }
        None
    }

    /// What is said about a name.
    fn meaning(&self, name: &str) -> Vec<String> {
        let functions = self.functions.iter().filter(|f| f.name == name);
        let definitions = self.definitions.iter().filter(|d| d.name == name);
        let declared = self.declared.iter().filter(|d| d.0 == name);
        functions
            .map(|f| f.body.render())
            .chain(definitions.map(|d| format!("{} {}", d.head, d.body.render())))
            .chain(declared.map(|d| d.1.clone()))
            .collect()
    }

    fn text(&self, value: &str, needed: &[String]) -> String {
        let mut out = String::new();
        for f in self.functions.iter().filter(|f| needed.contains(&f.name)) {
            out += &format!("def {}({}) = {}\n", f.name, f.signature, f.body.render());
        }
        let side = |differentiated: bool| {
            let all = self
                .inputs
                .iter()
                .filter(|i| needed.contains(&i.name) && i.differentiated == differentiated);
            all.map(|i| self.declaration(i))
                .collect::<Vec<_>>()
                .join(", ")
        };
        out += &format!("loss random({}", side(true));
        let given = side(false);
        if !given.is_empty() {
            out += &format!(" | {given}");
        }
        let params: Vec<&str> = self
            .params
            .iter()
            .filter(|p| needed.contains(&p.0))
            .map(|p| &*p.1)
            .collect();
        if !params.is_empty() {
            out += &format!("; {}", params.join(", "));
        }
        out += &format!(") =\n  {value}\n");
        let mut bindings = String::new();
        for (name, extent) in self.declared.iter().filter(|d| needed.contains(&d.0)) {
            bindings += &format!("    axis {name} = {extent}\n");
        }
        for d in self.definitions.iter().filter(|d| needed.contains(&d.name)) {
            bindings += &format!("    {}{} = {}\n", d.name, d.head, d.body.render());
        }
        if !bindings.is_empty() {
            out += &format!("  where\n{bindings}");
        }
        out
    }

    fn declaration(&self, input: &Input) -> String {
        let kind = match input.ty {
            Ty::Real => "",
            Ty::Int => "int",
            Ty::Bool => "bool",
        };
        let dims: Vec<String> = input
            .dims
            .iter()
            .map(|&c| match &self.classes[c].rule {
                Rule::Star => "*".into(),
                Rule::Constant(n) => n.to_string(),
                _ => self.classes[c].axes[0].clone(),
            })
            .collect();
        format!("{}: {kind}[{}]", input.name, dims.join(", "))
    }
}

/// The names in a text, `*` where it stands for an axis among them.
fn words(text: &str) -> Vec<String> {
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let text = text.replace("[*", " STAR ").replace("(*", " STAR ");
    text.split(|c| !letters(c))
        .filter(|w| w.starts_with(|c: char| c.is_ascii_alphabetic()))
        .map(String::from)
        .collect()
}
