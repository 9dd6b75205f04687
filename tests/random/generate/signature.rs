//! Axes, inputs, hyperparameters and functions.

use super::{Call, Generator, Scope, Tensor};
use crate::program::{Class, Function, Input, Rule};
use crate::term::Ty;

impl Generator {
    pub(super) fn signature(&mut self) {
        let count = self.rng.usize(1..=3);
        for name in ["N", "C", "T"].into_iter().take(count) {
            let mut axes = vec![name.to_string()];
            for copy in 2..self.rng.usize(2..5) {
                let alias = format!("{name}{copy}");
                // Without a declaration it has the extent of the positions where it stands.
                if !self.chance(1, 30) {
                    self.declare(&alias, &format!("size({name})"));
                }
                axes.push(alias);
            }
            self.class(axes, Rule::Input);
        }
        if self.chance(1, 4) {
            self.class(vec!["*".into()], Rule::Star);
        }
        if self.chance(1, 3) {
            let n = self.rng.usize(1..5);
            self.declare("Q", &n.to_string());
            self.class(vec!["Q".into()], Rule::Constant(n));
        }
        for name in ["p", "t"].into_iter().take(self.rng.usize(..3)) {
            self.program.params.push((
                name.into(),
                format!("{name} = {}", self.rng.u8(1..9) as f64 / 8.0),
            ));
            self.reals.push(name.into());
        }
        if self.chance(1, 3) {
            let n = self.rng.usize(1..6);
            self.program
                .params
                .push(("bins".into(), format!("bins: int = {n}")));
            self.ints.push("bins".into());
            self.declare("B", "bins");
            self.class(vec!["B".into()], Rule::Param("bins".into(), n));
        }
        if self.chance(1, 5) {
            let plus = self.rng.usize(..2);
            let text = if plus == 1 {
                "2 * size(N) + 1"
            } else {
                "2 * size(N)"
            };
            self.declare("L", text);
            self.class(vec!["L".into()], Rule::Linear(2, 0, plus));
        }
        if count > 1 && self.chance(1, 5) {
            self.declare("J", "size(N) + size(C)");
            self.class(vec!["J".into()], Rule::Joined(0, 1));
        }
        self.inputs();
    }

    fn declare(&mut self, axis: &str, extent: &str) {
        self.program.declared.push((axis.into(), extent.into()));
    }

    fn class(&mut self, axes: Vec<String>, rule: Rule) {
        self.program.classes.push(Class { axes, rule });
    }

    fn inputs(&mut self) {
        let reals = self.rng.usize(2..5);
        for i in 0..reals {
            let name = ["x", "y", "z", "w"][i];
            let dims = self.dims(3);
            let differentiated = i == 0 || self.chance(2, 3);
            self.input(name, Ty::Real, dims, differentiated, None);
        }
        // Every axis has its extent from somewhere.
        for c in 0..self.program.classes.len() {
            let class = &self.program.classes[c];
            let open = matches!(class.rule, Rule::Input | Rule::Star);
            let name = format!("v{c}");
            if open && !self.program.inputs.iter().any(|i| i.dims.contains(&c)) {
                self.input(&name, Ty::Real, vec![c], c % 2 == 0, None);
            }
        }
        for name in ["k", "l"].into_iter().take(self.rng.usize(..3)) {
            let dims = self.dims(2);
            let range = self.rng.usize(..self.program.classes.len());
            let indexes = (self.named(range) && !self.chance(1, 4)).then_some(range);
            self.input(name, Ty::Int, dims, false, indexes);
        }
        if self.chance(1, 2) {
            let dims = self.dims(2);
            self.input("m", Ty::Bool, dims, false, None);
        }
    }

    /// The classes of an input's positions.
    fn dims(&mut self, most: usize) -> Vec<usize> {
        let usable = |r: &Rule| matches!(r, Rule::Input | Rule::Constant(_));
        let mut all: Vec<usize> = vec![];
        for (i, class) in self.program.classes.iter().enumerate() {
            if class.rule == Rule::Star && self.rng.u8(..3) == 0 {
                return vec![i];
            }
            if usable(&class.rule) {
                all.push(i);
            }
        }
        let n = self.of(&[0, 1, 1, 1, 2, 2, 2, 3]);
        (0..n.min(most)).map(|_| self.of(&all)).collect()
    }

    fn input(
        &mut self,
        name: &str,
        ty: Ty,
        dims: Vec<usize>,
        differentiated: bool,
        indexes: Option<usize>,
    ) {
        let axes = dims
            .iter()
            .map(|&c| match self.program.classes[c].rule {
                Rule::Constant(_) => None,
                _ => Some(self.program.classes[c].axes[0].clone()),
            })
            .collect();
        let star = dims.iter().any(|&c| !self.named(c));
        self.tensors.push(Tensor {
            name: name.into(),
            ty,
            dims: dims.clone(),
            axes,
            indexable: !star,
            indexes,
            used: false,
        });
        self.program.inputs.push(Input {
            name: name.into(),
            ty,
            dims,
            differentiated,
            indexes,
        });
    }

    /// Templates: of expressions, and of a tensor with two axes.
    pub(super) fn functions(&mut self) {
        for name in ["f", "g"].into_iter().take(self.rng.usize(..3)) {
            let classes = std::mem::take(&mut self.program.classes);
            let tensors = std::mem::take(&mut self.tensors);
            let (reals, ints) = (
                std::mem::replace(&mut self.reals, vec!["c".into()]),
                std::mem::take(&mut self.ints),
            );
            let pseudo = |name: &str, axes: &[&str]| Tensor {
                name: name.into(),
                ty: Ty::Real,
                dims: (0..axes.len()).collect(),
                axes: axes.iter().map(|a| Some(a.to_string())).collect(),
                indexable: !axes.is_empty(),
                indexes: None,
                used: false,
            };
            // Of the function's own axes there is always one to reduce.
            for axis in ["P", "R"] {
                self.class(vec![axis.into()], Rule::Input);
            }
            let typed = self.chance(1, 2);
            let (signature, scope) = if typed {
                self.tensors = vec![pseudo("a", &["P", "R"])];
                ("a: [P, R]; c = 0.5", vec![("P".to_string(), 0)])
            } else {
                self.program.classes.clear();
                self.tensors = vec![pseudo("u", &[]), pseudo("v", &[])];
                ("u, v; c = 0.5", vec![])
            };
            let scope = Scope::of(&scope);
            let body = if typed {
                self.reduction(&scope, 2)
            } else {
                self.untyped_body(&scope)
            };
            self.program.functions.push(Function {
                name: name.into(),
                signature: signature.into(),
                body,
            });
            (self.program.classes, self.tensors) = (classes, tensors);
            (self.reals, self.ints) = (reals, ints);
            self.calls.push(Call {
                name: name.into(),
                arguments: (!typed).then_some(2),
            });
        }
    }
}
