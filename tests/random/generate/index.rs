//! Reads: bare, by index, shifted, gathered, with a default.

use super::{Generator, Scope, Tensor};
use crate::program::Rule;
use crate::term::{Term, Ty, int, real, term};

impl Generator {
    /// A read of something of a type.
    pub(super) fn read_of(&mut self, ty: Ty, s: &Scope) -> Option<Term> {
        let mut all = self.tensors.clone();
        all.retain(|t| t.ty == ty);
        for _ in 0..6 {
            if all.is_empty() {
                return None;
            }
            // Mostly the latest ones, so that definitions build on each other.
            let n = all.len();
            let k = self.rng.usize(..n).max(self.rng.usize(..n));
            // A scalar where there is an axis to read along is dull.
            let dull = all[k].dims.is_empty() && !s.open.is_empty() && self.chance(1, 2);
            if dull {
                continue;
            }
            let tensor = all[k].clone();
            if let Some(read) = self.read_at(&tensor, s, None) {
                return Some(read);
            }
        }
        None
    }

    /// A read of a tensor; at an axis, if that is asked for.
    pub(super) fn read_at(
        &mut self,
        t: &Tensor,
        s: &Scope,
        at: Option<&(String, usize)>,
    ) -> Option<Term> {
        let named: Vec<&String> = t.axes.iter().flatten().collect();
        let repeated = (1..named.len()).any(|i| named[..i].contains(&named[i]));
        let bare = named.len() == t.dims.len() && !repeated && named.iter().all(|a| s.has(a));
        let anchored = at.is_none_or(|a| named.contains(&&a.0));
        if bare && anchored && (!t.indexable || t.dims.is_empty() || self.chance(3, 5)) {
            self.mark(&t.name);
            return Some(term(t.ty, &t.name, vec![]));
        }
        if !t.indexable || t.dims.is_empty() {
            return None;
        }
        let anchor = at.and_then(|a| t.dims.iter().position(|&c| c == a.1));
        let mut subs = vec![];
        let mut safe = true;
        for (k, &class) in t.dims.iter().enumerate() {
            let (index, ok) = match at {
                Some(a) if anchor == Some(k) => (int(&a.0, vec![]), true),
                _ => self.index(class, s),
            };
            subs.push(index);
            safe &= ok;
        }
        let mut pattern = format!("{}[{}", t.name, vec!["$"; subs.len()].join(", "));
        // A default that is never taken does no harm.
        if !safe || self.chance(1, 10) {
            pattern += " else $";
            subs.push(match t.ty {
                Ty::Real if self.chance(1, 3) => self.leaf(s),
                Ty::Real => real(self.of(&["0.0", "1.0", "0.25"]), vec![]),
                Ty::Int => int(self.of(&["0", "1"]), vec![]),
                Ty::Bool => term(Ty::Bool, self.of(&["true", "false"]), vec![]),
            });
        }
        pattern += "]";
        self.mark(&t.name);
        Some(term(t.ty, &pattern, subs))
    }

    /// An index of a class, and whether it is sure to be in range (where there are elements).
    fn index(&mut self, class: usize, s: &Scope) -> (Term, bool) {
        let axes = self.program.classes[class].axes.clone();
        let mut own = s.open.clone();
        own.retain(|a| a.1 == class && a.0 != "*");
        if !own.is_empty() && self.chance(11, 20) {
            return (int(&self.of(&own).0, vec![]), true);
        }
        match self.rng.u8(..12) {
            0..=2 if !own.is_empty() => {
                let axis = self.of(&own).0;
                let shift = self.of(&["- 1", "+ 1", "- 2", "+ 2"]);
                (int(&format!("{axis} {shift}"), vec![]), false)
            }
            3 if !own.is_empty() => {
                let axis = self.of(&own).0;
                (
                    int(&format!("size({}) - 1 - {axis}", axes[0]), vec![]),
                    true,
                )
            }
            4..=7 => {
                let mut all = self.tensors.clone();
                all.retain(|t| t.indexes == Some(class));
                for _ in 0..3 {
                    if all.is_empty() {
                        break;
                    }
                    let tensor = self.of(&all);
                    let read = self.read_at(&tensor, s, None);
                    // Its default may be out of range.
                    if let Some(read) = read {
                        let safe = !read.render().contains(" else ");
                        return (read, safe);
                    }
                }
                (self.int(s, 1), false)
            }
            8 => {
                let last = format!("max(0, min(size({}) - 1, $))", axes[0]);
                (int(&last, vec![self.int(s, 1)]), true)
            }
            9 => {
                let mut others = s.open.clone();
                others.retain(|a| a.1 != class && a.0 != "*");
                match others.len() {
                    0 => (int("1", vec![]), false),
                    n => {
                        let axis = &others[self.rng.usize(..n)].0;
                        (int(axis, vec![]), false)
                    }
                }
            }
            10 => (self.int(s, 1), false),
            _ => match self.program.classes[class].rule {
                Rule::Constant(n) => (int(&self.rng.usize(..n).to_string(), vec![]), true),
                _ => (int(self.of(&["0", "1"]), vec![]), false),
            },
        }
    }
}
