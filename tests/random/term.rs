//! Pieces of a program's text that know their type, so that a smaller program can be made of a large one.

/// The types of the language.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ty {
    Real,
    Int,
    Bool,
}

/// An expression: text with expressions in between.
#[derive(Clone, Debug)]
pub struct Term {
    pub ty: Ty,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Sub(Term),
}

impl Default for Term {
    fn default() -> Term {
        real("0.0", vec![])
    }
}

/// An expression by its pattern, where each `$` stands for the next of `subs`.
pub fn term(ty: Ty, pattern: &str, subs: Vec<Term>) -> Term {
    let mut parts = vec![];
    let mut subs = subs.into_iter();
    for (i, piece) in pattern.split('$').enumerate() {
        if i > 0 {
            parts.extend(subs.next().map(Part::Sub));
        }
        if !piece.is_empty() {
            parts.push(Part::Text(piece.into()));
        }
    }
    Term { ty, parts }
}

pub fn real(pattern: &str, subs: Vec<Term>) -> Term {
    term(Ty::Real, pattern, subs)
}

pub fn int(pattern: &str, subs: Vec<Term>) -> Term {
    term(Ty::Int, pattern, subs)
}

pub fn boolean(pattern: &str, subs: Vec<Term>) -> Term {
    term(Ty::Bool, pattern, subs)
}

impl Term {
    /// The text.
    pub fn render(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        for part in &self.parts {
            match part {
                Part::Text(t) => out.push_str(t),
                Part::Sub(s) => s.write(out),
            }
        }
    }

    /// How many expressions there are, this one included.
    pub fn size(&self) -> usize {
        1 + self.subs().map(Term::size).sum::<usize>()
    }

    fn subs(&self) -> impl Iterator<Item = &Term> {
        self.parts.iter().filter_map(|p| match p {
            Part::Sub(s) => Some(s),
            Part::Text(_) => None,
        })
    }

    /// The n-th expression, from outside in; this one is the first.
    pub fn get(&self, n: usize) -> &Term {
        let mut n = n;
        let mut at = self;
        'down: while n > 0 {
            n -= 1;
            for sub in at.subs() {
                if n < sub.size() {
                    at = sub;
                    continue 'down;
                }
                n -= sub.size();
            }
            return at;
        }
        at
    }

    /// With another expression in place of the n-th.
    pub fn with(&self, n: usize, new: &Term) -> Term {
        if n == 0 {
            return new.clone();
        }
        let mut rest = n - 1;
        let mut done = false;
        let parts = self.parts.iter().map(|part| match part {
            Part::Sub(s) if !done && rest < s.size() => {
                done = true;
                Part::Sub(s.with(rest, new))
            }
            Part::Sub(s) => {
                rest = rest.wrapping_sub(if done { 0 } else { s.size() });
                part.clone()
            }
            Part::Text(_) => part.clone(),
        });
        Term {
            ty: self.ty,
            parts: parts.collect(),
        }
    }

    /// Shorter expressions of the same type that could stand for this one: constants, then its own parts.
    pub fn smaller(&self) -> Vec<Term> {
        let constants: &[&str] = match self.ty {
            Ty::Real => &["0.5", "1.0"],
            Ty::Int => &["0", "1"],
            Ty::Bool => &["true", "false"],
        };
        let mut out: Vec<Term> = constants.iter().map(|c| term(self.ty, c, vec![])).collect();
        for n in 1..self.size() {
            let sub = self.get(n);
            if sub.ty == self.ty {
                out.push(sub.clone());
            }
        }
        let length = self.render().len();
        out.retain(|t| t.render().len() < length);
        out
    }
}
