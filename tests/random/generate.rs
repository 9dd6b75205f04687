//! Random well-typed programs over the whole language.

mod definitions;
mod index;
mod signature;

use crate::program::{Program, Rule};
use crate::term::{Term, Ty, boolean, int, real, term};
use fastrand::Rng;

/// The program of a seed.
pub fn generate(seed: u64) -> Program {
    let mut g = Generator {
        rng: Rng::with_seed(seed),
        program: Program::default(),
        tensors: vec![],
        reals: vec![],
        ints: vec![],
        calls: vec![],
        own: vec![],
        sequences: seed % 2 == 1,
    };
    g.signature();
    g.functions();
    for _ in 0..g.rng.usize(1..6) {
        g.definition();
    }
    g.value();
    g.program
}

struct Generator {
    rng: Rng,
    program: Program,
    /// What can be read.
    tensors: Vec<Tensor>,
    /// Names of real and int hyperparameters.
    reals: Vec<String>,
    ints: Vec<String>,
    calls: Vec<Call>,
    /// Reads of the recurrence whose body is made.
    own: Vec<Term>,
    /// Whether there are recurrences and sorted orders.
    sequences: bool,
}

/// An input or a definition.
#[derive(Clone)]
struct Tensor {
    name: String,
    ty: Ty,
    dims: Vec<usize>,
    /// The axes of its head; of an input's unnamed position none.
    axes: Vec<Option<String>>,
    /// Whether it may be read with brackets.
    indexable: bool,
    /// An int that indexes the elements of a class.
    indexes: Option<usize>,
    /// Whether anything reads it.
    used: bool,
}

/// A function that can be called.
#[derive(Clone)]
struct Call {
    name: String,
    /// How many expressions it takes; or one tensor of two axes, of which it reduces the second.
    arguments: Option<usize>,
}

/// The axes that an expression may have.
#[derive(Clone)]
struct Scope {
    open: Vec<(String, usize)>,
    /// Whether these are still the axes of the head that the definition has.
    head: bool,
}

impl Scope {
    fn of(open: &[(String, usize)]) -> Scope {
        Scope {
            open: open.to_vec(),
            head: true,
        }
    }

    fn has(&self, axis: &str) -> bool {
        self.open.iter().any(|a| a.0 == axis)
    }

    /// With more axes; `*` mixes with no other.
    fn with(&self, more: &[(String, usize)]) -> Scope {
        let star = more.iter().any(|a| a.0 == "*");
        let mut open = self.open.clone();
        open.retain(|a| (a.0 == "*") == star && !more.contains(a));
        let head = more.iter().all(|m| !self.open.contains(m)) && self.head;
        open.extend(more.iter().cloned());
        Scope { open, head }
    }
}

const UNARY: &[&str] = &[
    "sin($)",
    "cos($)",
    "tanh($)",
    "sigmoid($)",
    "softplus($)",
    "relu($)",
    "abs($)",
    "atan($)",
    "erf($)",
    "exp(tanh($))",
    "exp(-abs($))",
    "exp($)",
    "expm1($)",
    "log(1 + $^2)",
    "log(abs($) + 0.1)",
    "log1p(abs($))",
    "log2(abs($) + 0.5)",
    "sqrt($^2 + 0.01)",
    "sqrt(abs($))",
    "tan(0.3 * tanh($))",
    "asin(0.9 * tanh($))",
    "acos(0.9 * tanh($))",
    "sinh(tanh($))",
    "cosh(tanh($))",
    "floor($)",
    "ceil($)",
    "round($)",
    "sign($)",
    "lgamma(abs($) + 0.5)",
    "digamma(abs($) + 0.5)",
    "polygamma(1, abs($) + 0.5)",
    "stop_gradient($)",
    "(-$)",
    "log(sigmoid($))",
    "log(1 - sigmoid($))",
    "log(1 + exp($))",
    "log(cosh($))",
    "(exp($) - 1)",
    "$^2",
    "$^2",
    "$^3",
    "2^tanh($)",
    "(0.5 * $)",
    // Where these are not finite, both must say so.
    "log($)",
    "sqrt($)",
    "$^(-1)",
    "asin($)",
    "$^0.5",
];

const BINARY: &[&str] = &[
    "max($, $)",
    "min($, $)",
    "logsumexp($, $)",
    "xlogy(abs($), abs($) + 0.1)",
    "xlogy(relu($), relu($))",
    "atan2($, abs($) + 0.5)",
    "clamp($, -1, abs($))",
    "($ / (1 + $^2))",
    "($ / (abs($) + 0.5))",
    "($ / $)",
    "(abs($) + 0.1)^$",
    "log(exp($) + exp($))",
    "sqrt($^2 + $^2)",
];

const REDUCTIONS: &[&str] = &[
    "sum",
    "sum",
    "sum",
    "mean",
    "mean",
    "max",
    "min",
    "logsumexp",
    "norm",
    "var",
    "std",
    "prod",
];

impl Generator {
    fn chance(&mut self, n: u8, of: u8) -> bool {
        self.rng.u8(..of) < n
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.rng.usize(..all.len())].clone()
    }

    fn pattern(&mut self, ty: Ty, all: &[&str], s: &Scope, depth: usize) -> Term {
        let pattern = self.of(all);
        let subs = (0..pattern.matches('$').count())
            .map(|_| self.term(ty, s, depth))
            .collect();
        term(ty, pattern, subs)
    }

    fn term(&mut self, ty: Ty, s: &Scope, depth: usize) -> Term {
        match ty {
            Ty::Real => self.real(s, depth),
            Ty::Int => self.int(s, depth),
            Ty::Bool => self.boolean(s, depth),
        }
    }

    fn real(&mut self, s: &Scope, depth: usize) -> Term {
        if depth == 0 {
            return self.leaf(s);
        }
        let d = depth - 1;
        match self.rng.u8(..100) {
            0..=23 => self.pattern(Ty::Real, &["($ + $)", "($ - $)", "($ * $)"], s, d),
            24..=41 => self.pattern(Ty::Real, UNARY, s, d),
            42..=50 => self.pattern(Ty::Real, BINARY, s, d),
            51..=57 => {
                let subs = vec![self.boolean(s, 1), self.real(s, d), self.real(s, d)];
                real("(if $ then $ else $)", subs)
            }
            58..=80 => self.reduction(s, d),
            81..=86 => self.along(s, d),
            87..=91 => self.call(s, d),
            _ => self.leaf(s),
        }
    }

    /// Axes to reduce.
    fn axes(&mut self) -> Vec<(String, usize)> {
        let mut all = vec![];
        for (c, class) in self.program.classes.iter().enumerate() {
            all.extend(class.axes.iter().map(|a| (a.clone(), c)));
        }
        let first = self.of(&all);
        let mut axes = vec![first.clone()];
        if self.chance(1, 5) {
            let second = self.of(&all);
            if second.0 != first.0 && second.0 != "*" && first.0 != "*" {
                axes.push(second);
            }
        }
        axes
    }

    fn reduction(&mut self, s: &Scope, depth: usize) -> Term {
        let axes = self.axes();
        let inner = s.with(&axes);
        let names: Vec<&str> = axes.iter().map(|a| &*a.0).collect();
        let mut op = self.of(REDUCTIONS);
        if axes[0].0 == "*" && op == "prod" {
            op = "sum";
        }
        let mut body = self.real(&inner, depth);
        for axis in &axes {
            let anchor = self.anchor(axis, &inner);
            let pattern = self.of(&["($ + $)", "($ * $)", "($ - $)"]);
            body = real(pattern, vec![body, anchor]);
        }
        if op == "prod" && self.chance(2, 3) {
            body = real("(1 + 0.3 * tanh($))", vec![body]);
        }
        if self.chance(1, 3) {
            let guard = self.boolean(&inner, 1);
            let pattern = format!("{op}[{} if $]($)", names.join(", "));
            return real(&pattern, vec![guard, body]);
        }
        real(&format!("{op}[{}]($)", names.join(", ")), vec![body])
    }

    /// Something that has an axis.
    fn anchor(&mut self, axis: &(String, usize), s: &Scope) -> Term {
        let mut all: Vec<Tensor> = self.tensors.clone();
        all.retain(|t| t.ty == Ty::Real && t.dims.contains(&axis.1));
        for _ in 0..4 {
            if all.is_empty() {
                break;
            }
            let tensor = self.of(&all);
            if let Some(read) = self.read_at(&tensor, s, Some(axis)) {
                return read;
            }
        }
        if axis.0 == "*" {
            return self.leaf(s);
        }
        real(&format!("(0.2 * {})", axis.0), vec![])
    }

    /// A function that keeps its axis.
    fn along(&mut self, s: &Scope, depth: usize) -> Term {
        let own: Vec<(String, usize)> = s.open.clone();
        if own.is_empty() {
            return self.leaf(s);
        }
        let axis = self.of(&own);
        let some = if axis.0 == "*" || !self.sequences {
            4
        } else {
            6
        };
        let f = self.of(&[
            "softmax",
            "softmax",
            "log_softmax",
            "normalize",
            "cumsum",
            "sort",
        ][..some]);
        let inner = Scope {
            head: false,
            ..s.clone()
        };
        let anchor = self.anchor(&axis, &inner);
        let body = real("($ + $)", vec![anchor, self.real(&inner, depth)]);
        if self.chance(1, 4) {
            let guard = self.boolean(&inner, 1);
            return real(&format!("{f}[{} if $]($)", axis.0), vec![guard, body]);
        }
        real(&format!("{f}[{}]($)", axis.0), vec![body])
    }

    fn call(&mut self, s: &Scope, depth: usize) -> Term {
        if self.calls.is_empty() {
            return self.leaf(s);
        }
        let calls = self.calls.clone();
        let call = self.of(&calls);
        let Some(n) = call.arguments else {
            let mut all = self.tensors.clone();
            all.retain(|t| {
                let named: Vec<&String> = t.axes.iter().flatten().collect();
                t.ty == Ty::Real
                    && t.indexable
                    && named.len() == 2
                    && t.dims.len() == 2
                    && named[0] != named[1]
                    && s.has(named[0])
            });
            if all.is_empty() {
                return self.leaf(s);
            }
            let tensor = self.of(&all);
            self.mark(&tensor.name);
            return real(&format!("{}({})", call.name, tensor.name), vec![]);
        };
        let arguments: Vec<Term> = (0..n).map(|_| self.real(s, depth)).collect();
        let mut places = vec!["$"; n].join(", ");
        if self.chance(1, 3) {
            places += ", c = 0.25";
        }
        real(&format!("{}({places})", call.name), arguments)
    }

    fn mark(&mut self, name: &str) {
        if let Some(t) = self.tensors.iter_mut().find(|t| t.name == name) {
            t.used = true;
        }
    }

    /// A read, a constant, a hyperparameter, an int.
    fn leaf(&mut self, s: &Scope) -> Term {
        if s.head && !self.own.is_empty() && self.chance(1, 2) {
            let own = self.own.clone();
            let read = self.of(&own);
            return match self.rng.u8(..3) {
                0 => read,
                1 => real("tanh($)", vec![read]),
                _ => real("(0.5 * $)", vec![read]),
            };
        }
        match self.rng.u8(..20) {
            0 | 1 => {
                let c = self.of(&["0.5", "2.0", "1.0", "(-0.5)", "0.3", "0.0", "pi"]);
                real(c, vec![])
            }
            2 if !self.reals.is_empty() => {
                let names = self.reals.clone();
                real(&self.of(&names), vec![])
            }
            3 if !self.program.classes.is_empty() => real("(0.1 * $)", vec![self.int(s, 1)]),
            _ => self
                .read_of(Ty::Real, s)
                .unwrap_or_else(|| real(self.of(&["0.7", "1.5"]), vec![])),
        }
    }

    fn boolean(&mut self, s: &Scope, depth: usize) -> Term {
        if depth > 0 && self.chance(1, 4) {
            let d = depth - 1;
            return match self.rng.u8(..8) {
                0..=2 => boolean("($ and $)", vec![self.boolean(s, d), self.boolean(s, d)]),
                3 | 4 => boolean("($ or $)", vec![self.boolean(s, d), self.boolean(s, d)]),
                5 => boolean("(not $)", vec![self.boolean(s, d)]),
                _ => {
                    let axes = self.axes();
                    let inner = s.with(&axes[..1]);
                    let op = self.of(&["any", "all"]);
                    let pattern = format!("{op}[{}]($)", axes[0].0);
                    boolean(&pattern, vec![self.boolean(&inner, d)])
                }
            };
        }
        match self.rng.u8(..10) {
            0..=2 => {
                let op = self.of(&["<", ">", "<=", ">="]);
                let subs = vec![self.real(s, 0), self.real(s, 0)];
                boolean(&format!("($ {op} $)"), subs)
            }
            3..=5 => {
                let op = self.of(&["==", "!=", "<", ">", "<=", ">="]);
                let subs = vec![self.int(s, 0), self.int(s, 0)];
                boolean(&format!("($ {op} $)"), subs)
            }
            6 => boolean("(mod($, 2) == 0)", vec![self.int(s, 0)]),
            _ => self.read_of(Ty::Bool, s).unwrap_or_else(|| {
                let subs = vec![self.real(s, 0), self.real(s, 0)];
                boolean("($ > $)", subs)
            }),
        }
    }

    fn int(&mut self, s: &Scope, depth: usize) -> Term {
        if depth > 0 && self.chance(1, 2) {
            let d = depth - 1;
            return match self.rng.u8(..14) {
                0..=5 => {
                    let all = [
                        "($ + $)",
                        "($ - $)",
                        "($ * $)",
                        "max($, $)",
                        "min($, $)",
                        "abs($)",
                        "div($, 2)",
                        "mod($, 3)",
                        "(-$)",
                    ];
                    self.pattern(Ty::Int, &all, s, d)
                }
                6 => {
                    let subs = vec![self.boolean(s, 0), self.int(s, d), self.int(s, d)];
                    int("(if $ then $ else $)", subs)
                }
                7 => int("int(clamp($, -3, 3))", vec![self.real(s, 1)]),
                8 => {
                    let axes = self.axes();
                    let inner = s.with(&axes[..1]);
                    let op = self.of(&["argmax", "argmin"]);
                    let anchor = self.anchor(&axes[0], &inner);
                    int(&format!("{op}[{}]($)", axes[0].0), vec![anchor])
                }
                9 => {
                    let axes = self.axes();
                    let inner = s.with(&axes[..1]);
                    int(&format!("sum[{}]($)", axes[0].0), vec![self.int(&inner, 0)])
                }
                _ => {
                    let axes = self.axes();
                    let inner = s.with(&axes[..1]);
                    let guard = self.boolean(&inner, d);
                    int(&format!("count[{}]($)", axes[0].0), vec![guard])
                }
            };
        }
        match self.rng.u8(..8) {
            0 => int(self.of(&["0", "1", "2", "3"]), vec![]),
            1 if !self.ints.is_empty() => {
                let names = self.ints.clone();
                int(&self.of(&names), vec![])
            }
            2 => {
                let axes = self.axes();
                int(&format!("size({})", axes[0].0), vec![])
            }
            3 | 4 => {
                let mut open = s.open.clone();
                open.retain(|a| a.0 != "*");
                match open.len() {
                    0 => int("1", vec![]),
                    n => int(&open[self.rng.usize(..n)].0, vec![]),
                }
            }
            _ => self.read_of(Ty::Int, s).unwrap_or_else(|| int("1", vec![])),
        }
    }

    /// The value: something of every definition that nothing else reads.
    fn value(&mut self) {
        let mut terms = vec![];
        let unused: Vec<Tensor> = self.tensors.iter().filter(|t| !t.used).cloned().collect();
        let inputs = self.program.inputs.len();
        let last = self.tensors.len() - 1;
        for (i, t) in self.tensors.clone().iter().enumerate() {
            let unused = unused.iter().any(|u| u.name == t.name);
            let wanted = match i < inputs {
                true => unused && self.chance(1, 3),
                false => unused || i == last,
            };
            if wanted {
                terms.push(self.total(t));
            }
        }
        if terms.is_empty() || self.chance(1, 3) {
            terms.push(self.reduction(&Scope::of(&[]), 2));
        }
        let mut value = terms.remove(0);
        for t in terms {
            let pattern = self.of(&["($ + $)", "($ - $)", "($ + 0.1 * $)", "($ * $)"]);
            value = real(pattern, vec![value, t]);
        }
        self.program.value = value;
    }

    /// A scalar made of all elements of a tensor.
    fn total(&mut self, t: &Tensor) -> Term {
        let mut open: Vec<(String, usize)> = vec![];
        for (&c, axis) in t.dims.iter().zip(&t.axes) {
            let mut fresh = self.program.classes[c].axes.clone();
            fresh.retain(|a| !open.iter().any(|o| o.0 == *a));
            match axis {
                Some(a) if fresh.contains(a) => open.push((a.clone(), c)),
                _ => match fresh.first() {
                    Some(a) => open.push((a.clone(), c)),
                    None => return real("0.5", vec![]),
                },
            }
        }
        let s = Scope::of(&open);
        let at: Vec<&str> = open.iter().map(|a| &*a.0).collect();
        let bare = t
            .axes
            .iter()
            .zip(&open)
            .all(|(a, o)| a.as_ref() == Some(&o.0));
        let read = if bare {
            term(t.ty, &t.name, vec![])
        } else {
            term(t.ty, &format!("{}[{}]", t.name, at.join(", ")), vec![])
        };
        self.mark(&t.name);
        let mut body = match t.ty {
            Ty::Real => real(self.of(&["$", "$", "tanh($)", "$^2"]), vec![read]),
            Ty::Int => real("(0.1 * $)", vec![read]),
            Ty::Bool => {
                let subs = vec![read, self.real(&s, 1), self.real(&s, 1)];
                real("(if $ then $ else $)", subs)
            }
        };
        if self.chance(1, 2) {
            let other = self.real(&s, 2);
            body = real(
                self.of(&["($ * $)", "($ + $)", "($ - $)^2"]),
                vec![body, other],
            );
        }
        if open.is_empty() {
            return body;
        }
        let op = self.of(&["sum", "mean", "mean", "mean", "logsumexp", "norm", "max"]);
        if self.chance(1, 4) {
            let guard = self.boolean(&s, 1);
            let pattern = format!("{op}[{} if $]($)", at.join(", "));
            return real(&pattern, vec![guard, body]);
        }
        real(&format!("{op}[{}]($)", at.join(", ")), vec![body])
    }

    /// Whether a class can be run over by a named axis.
    fn named(&self, class: usize) -> bool {
        self.program.classes[class].rule != Rule::Star
    }
}
