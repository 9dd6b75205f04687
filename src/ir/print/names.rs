//! Names for definitions, axes and extents: each is free where it stands, and has one extent in the whole text.

use super::*;

impl Printer<'_> {
    pub(super) fn name_everything(&mut self) {
        let program = self.program;
        let mut taken: FxHashSet<String> = KEYWORDS.iter().map(|k| k.to_string()).collect();
        taken.insert("pi".into());
        taken.extend(program.params.iter().map(|p| p.name.to_string()));
        for &i in &program.inputs {
            let t = program.get(i);
            taken.insert(t.name.to_string());
            self.names.insert(i, t.name.to_string());
            self.name_positions(i);
        }
        let mut numbers: FxHashMap<String, usize> = FxHashMap::default();
        // The loss's own names come first, so that a generated one yields.
        for named in [true, false] {
            for i in 0..self.definitions.len() {
                let t = self.definitions[i];
                if program.get(t).named == named {
                    let name = free_name(&program.get(t).name, &taken, &mut numbers);
                    taken.insert(name.clone());
                    self.names.insert(t, name);
                }
            }
        }
        self.name_extents();
        for i in 0..self.definitions.len() {
            let head = program.get(self.definitions[i]).head.clone();
            self.name_axes(&head, &mut vec![]);
        }
    }

    pub(super) fn name_positions(&mut self, input: TensorId) {
        let t = self.program.get(input);
        let TensorKind::Input(kind) = &t.kind else {
            return;
        };
        for (q, &a) in t.head.iter().enumerate() {
            let extent = self.extent(self.program.extent_of(a));
            let name = match kind.shape.as_ref().and_then(|s| s.get(q)) {
                None => "*".to_string(),
                Some(Dim::Named(n)) => n.to_string(),
                Some(Dim::Constant(_)) => continue,
            };
            self.extent_of_name.insert(name.clone(), extent);
            let first = self.name_of_extent.entry(extent).or_insert(name.clone());
            // What the signature does not say of an extent must be declared: its number, its rule, or that it has two names.
            let said = self.program.extents[extent.index()].kind == ExtentKind::Input;
            if (*first != name || !said) && self.declared.insert(name.clone()) {
                self.used.push(name.clone());
            }
            self.sized.insert(name);
        }
    }

    /// Names for the other extents: that of the source, with a number if it is taken.
    pub(super) fn name_extents(&mut self) {
        let mut extents: Vec<ExtentId> = vec![];
        for i in 0..self.program.extents.len() {
            extents.push(ExtentId(i as u32));
        }
        for e in extents {
            let extent = self.extent(e);
            if self.name_of_extent.contains_key(&extent) {
                continue;
            }
            let hint = self.program.extents[extent.index()].name.to_string();
            if matches!(
                self.program.extents[extent.index()].kind,
                ExtentKind::Constant(_)
            ) {
                continue;
            }
            let name = self.free_axis(&hint, extent, &[]);
            self.extent_of_name.insert(name.clone(), extent);
            self.name_of_extent.insert(extent, name);
        }
    }

    /// One extent for all constants of a value.
    pub(super) fn extent(&self, e: ExtentId) -> ExtentId {
        let extents = &self.program.extents;
        match extents[e.index()].kind {
            ExtentKind::Constant(n) => {
                let first = extents
                    .iter()
                    .position(|x| x.kind == ExtentKind::Constant(n));
                first.map_or(e, |i| ExtentId(i as u32))
            }
            ExtentKind::Input | ExtentKind::Declared(_) => e,
        }
    }

    /// Gives names to axes that are bound together; `open` are the names that they must not hide.
    pub(super) fn name_axes(&mut self, axes: &[AxisId], open: &mut Vec<String>) {
        for &a in axes {
            let extent = self.extent(self.program.extent_of(a));
            let hint = self.program.axes[a.index()].hint.clone();
            let name = self.free_axis(&hint, extent, open);
            if name != "*" && &*self.program.extents[extent.index()].name == "*" {
                self.declared.insert(name.clone());
            }
            self.extent_of_name.insert(name.clone(), extent);
            if !self.used.contains(&name) {
                self.used.push(name.clone());
            }
            open.push(name.clone());
            self.axes.insert(a, name);
        }
    }

    /// A name for an axis of `extent` that is not in `open`: the hint, another name of that extent, or the hint numbered.
    pub(super) fn free_axis(&self, hint: &str, extent: ExtentId, open: &[String]) -> String {
        let of_all = &*self.program.extents[extent.index()].name == "*";
        if of_all && self.star {
            return "*".into();
        }
        let fits = |n: &str| {
            !open.iter().any(|o| o == n) && self.extent_of_name.get(n).is_none_or(|&e| e == extent)
        };
        let starts_well = hint.starts_with(|c: char| c.is_ascii_uppercase());
        let hint = match starts_well {
            true => hint,
            false if of_all => "E",
            false => "X",
        };
        if fits(hint) {
            return hint.to_string();
        }
        let mut others: Vec<&String> = self
            .extent_of_name
            .iter()
            .filter(|(n, e)| **e == extent && *n != "*" && fits(n))
            .map(|(n, _)| n)
            .collect();
        others.sort();
        if let Some(n) = others.first() {
            return n.to_string();
        }
        let stem = hint.trim_end_matches(|c: char| c.is_ascii_digit());
        // `M` beside `N` reads better than `N2`.
        let next = |c: char| matches!(c, 'N' | 'I' | 'J' | 'K').then(|| ((c as u8) + 1) as char);
        let letters: Vec<char> = stem.chars().collect();
        if let [only] = letters[..] {
            let neighbour = if only == 'N' { Some('M') } else { next(only) };
            if let Some(n) = neighbour.map(String::from)
                && fits(&n)
                && !self.extent_of_name.contains_key(&n)
            {
                return n;
            }
        }
        (2..)
            .map(|k| format!("{stem}{k}"))
            .find(|n| fits(n))
            .unwrap_or_else(|| stem.to_string())
    }

    /// Two names stand at one position.
    pub(super) fn link(&mut self, a: &str, b: &str) {
        let (a, b) = (self.root(a), self.root(b));
        if a != b {
            self.same_as.insert(a, b);
        }
    }

    pub(super) fn root(&self, name: &str) -> String {
        let mut name = name;
        while let Some(next) = self.same_as.get(name) {
            name = next;
        }
        name.to_string()
    }

    /// Names a gradient's head after the signature; a repeated name and an unnamed position get another one.
    pub(super) fn name_like(&mut self, head: &[AxisId], shape: &[Dim]) {
        let mut open: Vec<String> = vec![];
        for (&a, d) in head.iter().zip(shape) {
            match d {
                Dim::Named(n) if !open.contains(&n.to_string()) => {
                    open.push(n.to_string());
                    self.axes.insert(a, n.to_string());
                    if !self.used.contains(&open[open.len() - 1]) {
                        self.used.push(n.to_string());
                    }
                }
                Dim::Named(_) | Dim::Constant(_) => self.name_axes(&[a], &mut open),
            }
        }
    }

    /// `axis` lines: what the source declares and the text uses, and names whose extent nothing shows.
    pub(super) fn declarations(&mut self) -> Vec<String> {
        let program = self.program;
        let mut out = vec![];
        let mut done: FxHashSet<String> = FxHashSet::default();
        // A declaration may ask for sizes of extents that are declared themselves.
        let mut i = 0;
        let mut used = self.used.clone();
        while i < used.len() {
            if let Some(&extent) = self.extent_of_name.get(&used[i])
                && let ExtentKind::Declared(e) = program.extents[extent.index()].kind
            {
                for n in program.reachable(&[e]) {
                    if let Node::Size(x) = program.node(n)
                        && let Some(name) = self.name_of_extent.get(&self.extent(*x))
                        && !used.contains(name)
                    {
                        used.push(name.clone());
                    }
                }
                if let Some(own) = self.name_of_extent.get(&extent)
                    && !used.contains(own)
                {
                    used.push(own.clone());
                }
            }
            i += 1;
        }
        for name in &used {
            let Some(&extent) = self.extent_of_name.get(name) else {
                continue;
            };
            let first = self.name_of_extent.get(&extent) == Some(name);
            if let ExtentKind::Declared(e) = program.extents[extent.index()].kind
                && first
                && done.insert(name.clone())
            {
                let text = self.expr(e, &[]).flat;
                out.push(format!("axis {name} = {text}"));
                self.sized.insert(name.clone());
            }
        }
        for name in &used {
            if name == "*" || done.contains(name) {
                continue;
            }
            let root = self.root(name);
            let known = used
                .iter()
                .chain(self.sized.iter())
                .any(|n| self.sized.contains(n) && self.root(n) == root);
            if known && !self.declared.contains(name) {
                continue;
            }
            let Some(&extent) = self.extent_of_name.get(name) else {
                continue;
            };
            let text = match program.extents[extent.index()].kind {
                ExtentKind::Constant(k) => k.to_string(),
                ExtentKind::Input | ExtentKind::Declared(_) => {
                    match self.name_of_extent.get(&extent) {
                        Some(n) if n != name => format!("size({n})"),
                        _ => continue,
                    }
                }
            };
            out.push(format!("axis {name} = {text}"));
            self.sized.insert(name.clone());
        }
        out
    }
}

/// The hint, or with a number if it is taken; `numbers` has the last number of each hint.
fn free_name(
    hint: &str,
    taken: &FxHashSet<String>,
    numbers: &mut FxHashMap<String, usize>,
) -> String {
    if !taken.contains(hint) {
        return hint.to_string();
    }
    let separator = if hint.ends_with(|c: char| c.is_ascii_digit()) {
        "_"
    } else {
        ""
    };
    let k = numbers.entry(hint.to_string()).or_insert(1);
    loop {
        *k += 1;
        let name = format!("{hint}{separator}{k}");
        if !taken.contains(&name) {
            return name;
        }
    }
}
