//! Functions that nothing calls: checked all the same, as far as they can be without arguments.

use super::scope::{Bare, Binding, Scope, Value, View};
use super::templates::{FunctionRef, type_of};
use super::{Lowerer, builtins, walk};
use crate::ast::{self, DimKind, Expr};
use crate::diagnostic::Diagnostic;
use crate::ir::{AxisId, ExprId, Input, Node, Param, ParamId, Tensor, TensorKind, Type};
use crate::modules::ModuleId;
use rustc_hash::FxHashSet;

impl<'m> Lowerer<'m> {
    pub(super) fn check_functions(
        mut self,
        module: ModuleId,
    ) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
        self.check_names(module);
        self.check_uncalled(module);
        self.check_extents();
        if self.diagnostics.is_empty() {
            Ok(self.warnings)
        } else {
            Err(self.sorted())
        }
    }

    /// Checks the functions of a file that no copy was made of.
    pub(super) fn check_uncalled(&mut self, module: ModuleId) {
        let called: FxHashSet<FunctionRef> = self.instances.keys().map(|k| k.function()).collect();
        for k in 0..self.modules.get(module).ast.functions.len() {
            let f = FunctionRef::Def(module, k as u32);
            let def = &self.modules.get(module).ast.functions[k];
            for o in &def.signature.options {
                self.check_option(o, type_of(o.kind));
            }
            if called.contains(&f) {
                continue;
            }
            let parameters = self.parameters(f);
            if parameters.iter().all(|p| p.dims.is_some()) {
                self.check_typed(f, def);
            } else {
                self.check_untyped(module, def);
            }
        }
    }

    /// With typed parameters everything is known that a call would tell.
    fn check_typed(&mut self, f: FunctionRef, def: &'m ast::Function) {
        let mut s = self.scope(f.module(), def.name.text.clone(), &def.bindings);
        let mut axes: Vec<AxisId> = vec![];
        for p in self.parameters(f).iter() {
            let mut view = View {
                tensor: self.p.value,
                axes: vec![],
                extra: vec![],
                bare: Bare::Yes,
                ordered: true,
                to_real: false,
            };
            for (k, dim) in p.dims.unwrap_or(&[]).iter().enumerate() {
                let axis = match &dim.kind {
                    DimKind::Axis(name) => {
                        let known = s.axes.contains_key(name) || s.declared.contains_key(name);
                        let axis = self.axis(&mut s, name, dim.span);
                        if !known {
                            let extent = self.p.extent_of(axis);
                            self.extents
                                .set(extent, Self::from_signature(&p.name.text, k));
                            self.axes[axis.index()].inferred = false;
                        }
                        axis
                    }
                    DimKind::Constant(n) => {
                        view.bare = Bare::Unnamed;
                        let known = super::extents::Known::Constant(*n);
                        let extent = self.new_extent(n.to_string().into(), Some(known));
                        self.anonymous(extent)
                    }
                    DimKind::Star => continue,
                };
                if view.axes.contains(&axis) {
                    view.bare = Bare::Repeated;
                }
                view.axes.push(axis);
            }
            axes.extend(&view.axes);
            view.tensor = self.p.tensor(Tensor {
                name: p.name.text.clone(),
                ty: p.ty,
                head: view.axes.clone(),
                kind: TensorKind::Input(Input {
                    differentiated: false,
                    shape: None,
                    doc: "".into(),
                }),
                named: true,
                span: Some(p.name.span),
            });
            self.give(&mut s, &p.name, "parameter", Binding::View(view));
        }
        for o in &def.signature.options {
            let value = self.some_param(o);
            self.give(&mut s, &o.name, "hyperparameter", Binding::Expr(value));
        }
        // Mistakes are reported where they are found.
        let _ = self.instance(f, s, &axes, def.name.span, def.name.span);
    }

    fn give(&mut self, s: &mut Scope<'m>, name: &ast::Name, what: &'static str, binding: Binding) {
        if let Some(first) = s.values.get(&name.text).map(|v| v.span) {
            let title = format!("`{}` stands twice in the signature", name.text);
            self.error(
                Diagnostic::error(title)
                    .at(name.span, "again here")
                    .at(first, "first here"),
            );
        }
        s.values.insert(
            name.text.clone(),
            Value {
                binding,
                what,
                span: name.span,
            },
        );
    }

    /// A hyperparameter of which nothing is known but its type.
    fn some_param(&mut self, o: &ast::HyperParameter) -> ExprId {
        let ty = if type_of(o.kind) == Type::Real {
            Type::Real
        } else {
            Type::Int
        };
        self.p.params.push(Param {
            name: o.name.text.clone(),
            ty,
            default: None,
            domain: None,
            doc: "".into(),
        });
        self.p
            .mk(Node::Param(ParamId(self.p.params.len() as u32 - 1)))
    }

    /// With untyped parameters only names are certain.
    fn check_untyped(&mut self, module: ModuleId, def: &'m ast::Function) {
        let mut s = self.scope(module, def.name.text.clone(), &def.bindings);
        let inputs = def
            .signature
            .inputs
            .iter()
            .chain(&def.signature.given)
            .map(|i| (&i.name, "parameter"));
        let options = def
            .signature
            .options
            .iter()
            .map(|o| (&o.name, "hyperparameter"));
        let anything = self.p.int(0);
        for (name, what) in inputs.chain(options) {
            self.give(&mut s, name, what, Binding::Expr(anything));
        }
        for d in &def.bindings.definitions {
            self.define_value(&mut s, &d.name, "definition", Binding::Expr(anything));
        }
        let bodies =
            std::iter::once(&def.value).chain(def.bindings.definitions.iter().map(|d| &d.value));
        for e in bodies {
            self.check_uses(&s, e);
        }
    }

    fn check_uses(&mut self, s: &Scope<'m>, e: &'m Expr) {
        let mut uses: Vec<&'m ast::Use> = vec![];
        walk::uses(e, &mut |u| uses.push(u));
        for u in uses {
            // Mistakes are reported where they are found.
            if walk::is_read(u) {
                let _ = self.value(s, &u.name);
            } else if u.arguments.is_some() && builtins::find(&u.name.text).is_none() {
                let _ = self.callee(s, u);
            }
        }
    }
}
