//! Definitions of every kind.

use super::{BINARY, Generator, Scope, Tensor, UNARY};
use crate::program::Definition;
use crate::term::{Term, Ty, boolean, int, real, term};

impl Generator {
    pub(super) fn definition(&mut self) {
        let kind = self.rng.u8(..24);
        if !self.sequences && (kind == 14 || (18..23).contains(&kind)) {
            return self.plain();
        }
        match kind {
            0..=7 => self.plain(),
            8 => self.bare(),
            9 => self.whole(),
            10 => self.condition(),
            11 => self.counted(),
            12 => self.contraction(),
            13 => self.kept(),
            14 => self.order(),
            15 => self.joined(),
            16 | 17 => self.inner_gradient(),
            18 | 19 => self.recurrence(),
            20 => self.matrix_recurrence(),
            21 => self.group(),
            22 => self.grid(),
            _ => self.pairs(),
        }
    }

    fn name(&mut self) -> String {
        format!("d{}", self.program.definitions.len())
    }

    /// Some axes for a head, no two the same.
    fn head(&mut self, most: usize) -> Vec<(String, usize)> {
        let mut all = vec![];
        for (c, class) in self.program.classes.iter().enumerate() {
            all.extend(class.axes.iter().map(|a| (a.clone(), c)));
        }
        all.retain(|a| a.0 != "*");
        let mut head: Vec<(String, usize)> = vec![];
        for _ in 0..self.rng.usize(..=most) {
            // Mostly the first axis of a class, which inputs have.
            let axis = self.of(&all);
            let first = (self.program.classes[axis.1].axes[0].clone(), axis.1);
            let axis = if self.chance(2, 3) { first } else { axis };
            if !head.contains(&axis) {
                head.push(axis);
            }
        }
        head
    }

    fn define(&mut self, name: &str, head: &[(String, usize)], body: Term) {
        let axes: Vec<&str> = head.iter().map(|a| &*a.0).collect();
        let text = if head.is_empty() {
            String::new()
        } else {
            format!("[{}]", axes.join(", "))
        };
        self.tensors.push(Tensor {
            name: name.into(),
            ty: body.ty,
            dims: head.iter().map(|a| a.1).collect(),
            axes: head.iter().map(|a| Some(a.0.clone())).collect(),
            indexable: true,
            indexes: None,
            used: false,
        });
        self.program.definitions.push(Definition {
            name: name.into(),
            head: text,
            body,
        });
    }

    fn plain(&mut self) {
        let head = self.head(3);
        let depth = self.rng.usize(2..5);
        let body = self.real(&Scope::of(&head), depth);
        let name = self.name();
        self.define(&name, &head, body);
    }

    /// Without a head; also over `*`.
    fn bare(&mut self) {
        let star = self.program.classes.iter().position(|c| c.axes[0] == "*");
        let head = match star {
            Some(c) if self.chance(2, 3) => vec![("*".to_string(), c)],
            _ => self.head(2),
        };
        let mut body = self.real(&Scope::of(&head), 3);
        // So that its axes are these.
        for axis in &head {
            let s = Scope::of(&head);
            body = real("($ + 0.5 * $)", vec![body, self.anchor(axis, &s)]);
        }
        let name = self.name();
        self.define(&name, &head, body);
        if let (Some(d), Some(t)) = (self.program.definitions.last_mut(), self.tensors.last_mut()) {
            d.head = String::new();
            t.indexable = false;
        }
    }

    fn whole(&mut self) {
        let head = self.head(2);
        let body = self.int(&Scope::of(&head), 2);
        let name = self.name();
        self.define(&name, &head, body);
    }

    fn condition(&mut self) {
        let head = self.head(2);
        let body = self.boolean(&Scope::of(&head), 2);
        let name = self.name();
        self.define(&name, &head, body);
    }

    /// `count[N](k == B)`, `sum[N if k == B](w)`.
    fn counted(&mut self) {
        let mut head = self.head(1);
        if head.is_empty() {
            head = self.head(1);
        }
        let Some(bin) = head.first().cloned() else {
            return self.plain();
        };
        let mut axes = self.axes();
        axes.retain(|a| a.0 != bin.0 && a.0 != "*");
        let Some(axis) = axes.first().cloned() else {
            return self.plain();
        };
        let inner = Scope::of(std::slice::from_ref(&axis));
        let index = match self.read_of(Ty::Int, &inner) {
            Some(read) => read,
            None => int("int(clamp(2 * $, -1, 4))", vec![self.anchor(&axis, &inner)]),
        };
        let both = Scope::of(&[axis.clone(), bin.clone()]);
        let body = if self.chance(1, 3) {
            int(&format!("count[{}]($ == {})", axis.0, bin.0), vec![index])
        } else {
            let op = self.of(&["sum", "sum", "mean", "max", "logsumexp", "norm"]);
            let more = if self.chance(1, 3) {
                boolean(" and $", vec![self.boolean(&both, 0)])
            } else {
                boolean("", vec![])
            };
            let body = self.real(&both, 2);
            let pattern = format!("{op}[{} if $ == {}$]($)", axis.0, bin.0);
            real(&pattern, vec![index, more, body])
        };
        let name = self.name();
        self.define(&name, &head, body);
    }

    /// `sum[C](a[N, C] * b[C, T])`
    fn contraction(&mut self) {
        let head = self.head(3);
        let axis = self.axes()[0].clone();
        if axis.0 == "*" || head.contains(&axis) || head.is_empty() {
            return self.plain();
        }
        let half = head.len() / 2;
        let mut left = head[..half].to_vec();
        let mut right = head[half..].to_vec();
        left.push(axis.clone());
        right.push(axis.clone());
        let (a, b) = (self.anchor_all(&left), self.anchor_all(&right));
        let op = self.of(&["sum", "sum", "mean"]);
        let body = real(&format!("{op}[{}]($ * $)", axis.0), vec![a, b]);
        let name = self.name();
        self.define(&name, &head, body);
    }

    /// Something with all of these axes.
    fn anchor_all(&mut self, axes: &[(String, usize)]) -> Term {
        let s = Scope::of(axes);
        let mut all = self.tensors.clone();
        all.retain(|t| {
            let mut dims = t.dims.clone();
            let mut wanted: Vec<usize> = axes.iter().map(|a| a.1).collect();
            dims.sort_unstable();
            wanted.sort_unstable();
            t.ty == Ty::Real && t.indexable && dims == wanted
        });
        if !all.is_empty() {
            let t = self.of(&all);
            let mut left = axes.to_vec();
            let mut subs = vec![];
            for &c in &t.dims {
                let k = left.iter().position(|a| a.1 == c).unwrap_or(0);
                subs.push(int(&left.remove(k).0, vec![]));
            }
            self.mark(&t.name);
            let places = vec!["$"; subs.len()].join(", ");
            return real(&format!("{}[{places}]", t.name), subs);
        }
        let mut out = self.real(&s, 1);
        for axis in axes {
            let anchor = self.anchor(axis, &s);
            out = real("($ * $)", vec![out, anchor]);
        }
        out
    }

    /// A definition that only keeps what a function along an axis gives.
    fn kept(&mut self) {
        let head = self.head(2);
        let body = self.along(&Scope::of(&head), 2);
        let name = self.name();
        self.define(&name, &head, body);
    }

    /// `argsort`, and the place of each element in it.
    fn order(&mut self) {
        let head = self.head(2);
        let Some(axis) = head.last().cloned() else {
            return self.plain();
        };
        let s = Scope::of(&head);
        let key = real("($ + $)", vec![self.anchor(&axis, &s), self.real(&s, 1)]);
        let guarded = self.chance(1, 4);
        let body = if guarded {
            let guard = self.boolean(&s, 1);
            int(&format!("argsort[{} if $]($)", axis.0), vec![guard, key])
        } else {
            int(&format!("argsort[{}]($)", axis.0), vec![key])
        };
        let name = self.name();
        self.define(&name, &head, body);
        self.mark_index(axis.1);
        if self.chance(1, 3) {
            let place = self.name();
            let body = int(&format!("argsort[{}]($)", axis.0), vec![int(&name, vec![])]);
            self.mark(&name);
            self.define(&place, &head, body);
            self.mark_index(axis.1);
        }
    }

    fn mark_index(&mut self, class: usize) {
        if let Some(t) = self.tensors.last_mut() {
            t.indexes = Some(class);
        }
    }

    /// `a[J else b[J - size(N)]]`
    fn joined(&mut self) {
        let class = |name: &str, g: &Self| g.program.classes.iter().position(|c| c.axes[0] == name);
        let (Some(j), Some(c)) = (class("J", self), class("C", self)) else {
            return self.plain();
        };
        let over = |g: &Self, class: usize| -> Vec<Tensor> {
            let mut all = g.tensors.clone();
            all.retain(|t| t.ty == Ty::Real && t.indexable && t.dims == [class]);
            all
        };
        let (first, second) = (over(self, 0), over(self, c));
        if first.is_empty() || second.is_empty() {
            return self.plain();
        }
        let (a, b) = (self.of(&first).name, self.of(&second).name);
        self.mark(&a);
        self.mark(&b);
        let body = real(
            &format!("{a}[J else $]"),
            vec![real(&format!("{b}[J - size(N)]"), vec![])],
        );
        let name = self.name();
        self.define(&name, &[("J".into(), j)], body);
    }

    /// `grad[x](inner)`, one for each of the free axes of `inner`.
    fn inner_gradient(&mut self) {
        let mut all = self.tensors.clone();
        all.retain(|t| {
            let named: Vec<&String> = t.axes.iter().flatten().collect();
            let repeated = (1..named.len()).any(|i| named[..i].contains(&named[i]));
            t.ty == Ty::Real && t.indexable && named.len() == t.dims.len() && !repeated
        });
        if all.is_empty() {
            return self.plain();
        }
        let x = self.of(&all);
        let axes: Vec<(String, usize)> = x
            .axes
            .iter()
            .flatten()
            .cloned()
            .zip(x.dims.iter().copied())
            .collect();
        let mut free = self.head(1);
        free.retain(|a| !axes.contains(a));
        let s = Scope::of(&free);
        let inner = s.with(&axes);
        self.mark(&x.name);
        let body = real(
            self.of(&["$^2 * $", "tanh($ * $)", "($ - $)^2", "softplus($) * $"]),
            vec![real(&x.name, vec![]), self.real(&inner, 2)],
        );
        let names: Vec<&str> = axes.iter().map(|a| &*a.0).collect();
        let body = if axes.is_empty() {
            body
        } else {
            let op = self.of(&["sum", "mean", "logsumexp"]);
            real(&format!("{op}[{}]($)", names.join(", ")), vec![body])
        };
        let name = self.name();
        self.define(&name, &free, body);
        let mut head = free;
        head.extend(axes);
        self.mark(&name);
        let gradient = real(&format!("grad[{}]($)", x.name), vec![real(&name, vec![])]);
        let body = match self.rng.u8(..3) {
            0 => real("($ - 0.1 * $)", vec![real(&x.name, vec![]), gradient]),
            1 => real("$^2", vec![gradient]),
            _ => gradient,
        };
        let name = self.name();
        self.define(&name, &head, body);
    }

    /// A recurrence in one axis, up or down, with others beside it.
    fn recurrence(&mut self) {
        let mut head = self.head(2);
        if head.is_empty() {
            head = self.head(3);
        }
        if head.is_empty() {
            return self.plain();
        }
        let along = self.rng.usize(..head.len());
        let name = self.name();
        let up = self.chance(3, 5);
        let start = self.real(&Scope::of(&head), 1);
        self.own = vec![self.earlier(&name, &head, along, up, 1)];
        if self.chance(1, 4) {
            let far = self.earlier(&name, &head, along, up, 2);
            self.own.push(far);
        }
        let body = self.step(&head);
        self.own.clear();
        let (axis, class) = head[along].clone();
        let base = &self.program.classes[class].axes[0];
        let first = if up {
            format!("{axis} == 0")
        } else {
            format!("{axis} == size({base}) - 1")
        };
        let body = match self.rng.u8(..3) {
            0 => body,
            _ => real(&format!("(if {first} then $ else $)"), vec![start, body]),
        };
        self.define(&name, &head, body);
    }

    /// A read of the element before this one, or after it.
    fn earlier(
        &mut self,
        name: &str,
        head: &[(String, usize)],
        along: usize,
        up: bool,
        by: usize,
    ) -> Term {
        let sign = if up { "-" } else { "+" };
        let places: Vec<String> = head
            .iter()
            .enumerate()
            .map(|(k, a)| match k == along {
                true => format!("{} {sign} {by}", a.0),
                false => a.0.clone(),
            })
            .collect();
        let default = match self.rng.u8(..4) {
            0 => real("0.0", vec![]),
            1 => real("1.0", vec![]),
            2 => real("0.25", vec![]),
            _ => {
                let own = std::mem::take(&mut self.own);
                let leaf = self.leaf(&Scope::of(head));
                self.own = own;
                leaf
            }
        };
        real(
            &format!("{name}[{} else $]", places.join(", ")),
            vec![default],
        )
    }

    /// The body of a recurrence, whose reads of itself are in `own`.
    fn step(&mut self, head: &[(String, usize)]) -> Term {
        let s = Scope::of(head);
        let own = self.own.clone();
        let read = self.of(&own);
        match self.rng.u8(..7) {
            0 => real("(0.5 * $ + $)", vec![read, self.real(&s, 2)]),
            1 => real("logsumexp($, $)", vec![read, self.real(&s, 1)]),
            2 => real("tanh($ * $)", vec![read, self.real(&s, 2)]),
            3 => real("($ + $)", vec![read, self.real(&s, 1)]),
            4 => {
                let condition = self.boolean(&s, 1);
                let other = real("(0.7 * $ + $)", vec![self.of(&own), self.real(&s, 1)]);
                real("(if $ then $ else $)", vec![condition, other, read])
            }
            5 => real("max($, $)", vec![read, self.real(&s, 1)]),
            _ => real("tanh($ + $)", vec![read, self.real(&s, 3)]),
        }
    }

    /// The forward recursion of a chain: over all states before this one.
    fn matrix_recurrence(&mut self) {
        let head = self.head(3);
        let state = head.last().cloned();
        let (Some((state, class)), true) = (state, head.len() > 1) else {
            return self.recurrence();
        };
        let mut others = self.program.classes[class].axes.clone();
        others.retain(|a| !head.iter().any(|h| h.0 == *a));
        let Some(other) = others.first().cloned() else {
            return self.recurrence();
        };
        let along = self.rng.usize(..head.len() - 1);
        let name = self.name();
        let start = self.real(&Scope::of(&head), 1);
        let mut before = head.clone();
        before[head.len() - 1].0 = other.clone();
        let read = self.earlier(&name, &before, along, true, 1);
        let pair = Scope::of(&[(other.clone(), class), (state, class)]);
        let weight = self.real(&pair, 1);
        let pattern = self.of(&[
            "logsumexp[O]($ + $)",
            "mean[O]($ * $)",
            "max[O]($ + $)",
            "sum[O]($ * softmax[O]($))",
            "sum[O]($ / (1 + abs($) * size(O)))",
        ]);
        let body = real(&pattern.replace('O', &other), vec![read, weight]);
        let own = real("($ + $)", vec![body, self.real(&Scope::of(&head), 1)]);
        let first = format!("{} == 0", head[along].0);
        let body = real(&format!("(if {first} then $ else $)"), vec![start, own]);
        self.define(&name, &head, body);
    }

    /// Two recurrences that read each other.
    fn group(&mut self) {
        let mut head = self.head(2);
        if head.is_empty() {
            head = self.head(3);
        }
        if head.is_empty() {
            return self.plain();
        }
        let along = self.rng.usize(..head.len());
        let up = self.chance(1, 2);
        let n = self.program.definitions.len();
        let (a, b) = (format!("d{n}"), format!("d{}", n + 1));
        let reads = vec![
            self.earlier(&a, &head, along, up, 1),
            self.earlier(&b, &head, along, up, 1),
        ];
        self.own = reads.clone();
        let s = Scope::of(&head);
        let first = real("tanh($ + $)", vec![reads[1].clone(), self.real(&s, 2)]);
        self.own = reads;
        // The second may read the first at its own element.
        self.own.push(term(Ty::Real, &a, vec![]));
        let own = self.own.clone();
        let (x, y) = (self.of(&own), self.of(&own));
        let second = real("(0.5 * $ - tanh($ * $))", vec![x, y, self.real(&s, 2)]);
        self.own.clear();
        self.define(&a, &head, first);
        self.define(&b, &head, second);
        self.mark(&a);
    }

    /// A recurrence in two axes.
    fn grid(&mut self) {
        let head = self.head(3);
        if head.len() < 2 {
            return self.recurrence();
        }
        let name = self.name();
        let up = self.chance(3, 4);
        let mut reads = vec![
            self.earlier(&name, &head, 0, up, 1),
            self.earlier(&name, &head, 1, up, 1),
        ];
        if self.chance(1, 2) {
            let sign = if up { "-" } else { "+" };
            let mut places: Vec<String> = head.iter().map(|a| a.0.clone()).collect();
            places[0] = format!("{} {sign} 1", places[0]);
            places[1] = format!("{} {sign} 1", places[1]);
            let read = format!("{name}[{} else 0.5]", places.join(", "));
            reads.push(real(&read, vec![]));
        }
        let s = Scope::of(&head);
        let pattern = match reads.len() {
            2 => self.of(&[
                "tanh($ + $)",
                "logsumexp($, $)",
                "min($, $)",
                "(0.4 * $ + 0.4 * $)",
            ]),
            _ => self.of(&["tanh($ + $ - $)", "logsumexp($, $, $)", "min($, $, $)"]),
        };
        let step = real(pattern, reads);
        let body = real("($ + $)", vec![self.real(&s, 2), step]);
        self.define(&name, &head, body);
    }

    /// A fresh axis beside its own: distances, comparisons, guarded pairs.
    fn pairs(&mut self) {
        let mut classes: Vec<usize> = vec![];
        for (i, c) in self.program.classes.iter().enumerate() {
            if c.axes.len() > 1 {
                classes.push(i);
            }
        }
        if classes.is_empty() {
            return self.plain();
        }
        let class = self.of(&classes);
        let axes = self.program.classes[class].axes.clone();
        let (a, b) = ((axes[0].clone(), class), (axes[1].clone(), class));
        let (left, right) = (
            self.anchor(&a, &Scope::of(std::slice::from_ref(&a))),
            self.anchor(&b, &Scope::of(std::slice::from_ref(&b))),
        );
        let body = real(
            self.of(&["($ - $)^2", "($ * $)", "abs($ - $)"]),
            vec![left, right],
        );
        let name = self.name();
        let both = Scope::of(&[a.clone(), b.clone()]);
        match self.rng.u8(..3) {
            0 => self.define(&name, &[a, b], body),
            1 => {
                let guard = match self.rng.u8(..3) {
                    0 => boolean(&format!("{} < {}", a.0, b.0), vec![]),
                    1 => boolean(&format!("{} != {}", a.0, b.0), vec![]),
                    _ => self.boolean(&both, 1),
                };
                let op = self.of(&["mean", "sum", "logsumexp", "max", "min", "norm"]);
                let pattern = format!("{op}[{}, {} if $]($)", a.0, b.0);
                self.define(&name, &[], real(&pattern, vec![guard, body]));
            }
            _ => {
                let guard = self.boolean(&both, 1);
                let op = self.of(&["mean", "sum", "logsumexp", "max"]);
                let pattern = format!("{op}[{} if $]($)", b.0);
                self.define(&name, &[a], real(&pattern, vec![guard, body]));
            }
        }
    }

    /// The body of a template of two expressions.
    pub(super) fn untyped_body(&mut self, s: &Scope) -> Term {
        let first = self.pattern(Ty::Real, BINARY, s, 0);
        let second = self.pattern(Ty::Real, UNARY, s, 0);
        real(
            self.of(&["($ + $)", "($ * $)", "($ - $)"]),
            vec![first, second],
        )
    }
}
