//! A loss with its gradient, and the kernels that it compiles to.

mod call;

pub use call::{Evaluated, Kernel, NamedGradient};

use crate::codegen::{self, Dtype, isa};
use crate::compile;
use crate::diagnostic::{Diagnostic, Sources};
use crate::error::Error;
use crate::grad::vector;
use crate::ir::{Body, Program, TensorId, TensorKind, print};
use crate::kernel;
use crate::loops::Loops;
use crate::rewrite::stabilize::Applied;
use crate::rows::{Reduction, Rows};
use crate::stack::with_stack;
use crate::suggest;
use std::sync::Arc;

/// A checked loss: stable, and with its gradient derived.
///
/// ```
/// use losscc::{Gradient, Input, Options, Spec};
///
/// let loss = Spec::open("huber")?.derive()?;
/// let kernel = loss.compile(&Options::default())?;
/// let (yhat, y, mut grad) = ([0.0, 3.0], [0.0, 0.0], [0.0; 2]);
/// let inputs = [Input::new("yhat", &yhat, &[2]), Input::new("y", &y, &[2])];
/// let value = kernel.value_and_grad(&inputs, &[("delta", 1.0)], &mut [Gradient::new("yhat", &mut grad)])?;
/// assert_eq!(value, 1.25);
/// assert_eq!(grad, [0.0, 0.5]);
/// # Ok::<(), losscc::Error>(())
/// ```
pub struct Loss {
    program: Arc<Program>,
    /// The value before anything was rewritten, with the reduction that was asked for.
    written: Arc<Program>,
    /// As it is written in the source; nobody wrote second derivatives.
    source: Option<Arc<Program>>,
    sources: Arc<Sources>,
    rewrites: Vec<Applied>,
    reduction: Option<String>,
}

/// What a kernel is compiled for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Options {
    /// The type of reals; f64 if nothing is said.
    pub dtype: Dtype,
    /// The inputs with respect to which gradients are wanted; all differentiated ones if nothing is said.
    pub wrt: Option<Vec<String>>,
    /// Another reduction of the rows than the loss's own (rule R12).
    pub reduction: Option<Reduction>,
    /// Whether there is one more input, `sample_weight`, over the axes of the rows: each row counts as often as it says.
    pub weighted: bool,
    /// Whether the kernel gets its fast code at once. Otherwise its first code is one that is made in less time, and
    /// the first call with 512 steps of loops or more makes the fast one; the numbers are the same.
    pub many: bool,
}

impl Loss {
    pub(crate) fn new(
        source: Arc<Program>,
        rows: Rows,
        sources: Arc<Sources>,
    ) -> Result<Loss, Error> {
        let fail = |d| Error::new(vec![d], sources.clone());
        let written = if rows.is_default() {
            source.clone()
        } else {
            Arc::new(compile::reduced(&source, rows).map_err(fail)?)
        };
        let derived = compile::derive((*written).clone()).map_err(fail)?;
        Ok(Loss {
            program: Arc::new(derived.program),
            written,
            source: Some(source),
            sources,
            rewrites: derived.rewrites,
            reduction: derived.reduction,
        })
    }

    /// The same loss with another reduction of its rows, if one is given, and with a weight for each row, an input
    /// `sample_weight` over the axes of the rows (rule R12). [`Loss::compile`] does it as its options say.
    ///
    /// ```
    /// use losscc::{Gradient, Input, Options, Reduction, Spec};
    ///
    /// let options = Options { reduction: Some(Reduction::None), ..Options::default() };
    /// let kernel = Spec::open("mse")?.derive()?.compile(&options)?;
    /// let inputs = [Input::new("yhat", &[0.0, 3.0], &[2]), Input::new("y", &[0.0, 1.0], &[2])];
    /// let (mut rows, mut grad) = ([0.0; 2], [0.0; 2]);
    /// kernel.rows_and_grad(&inputs, &[], &mut rows, &mut [Gradient::new("yhat", &mut grad)])?;
    /// assert_eq!((rows, grad), ([0.0, 4.0], [0.0, 4.0]));
    /// # Ok::<(), losscc::Error>(())
    /// ```
    ///
    /// # Errors
    /// A value that is no mean or sum over rows; an input `sample_weight` that the loss has already; a stated gradient,
    /// which is that of the value as it is written; second derivatives, which were made with another reduction.
    pub fn reduced(&self, reduction: Option<Reduction>, weighted: bool) -> Result<Loss, Error> {
        let rows = Rows {
            reduction,
            weighted,
        };
        let Some(source) = self.source.clone() else {
            let title = "second derivatives keep the reduction that they were made with";
            let error = Diagnostic::data(title);
            return Err(self.fail(error.help("ask for it before, by `Loss::reduced`")));
        };
        Loss::new(source, rows, self.sources.clone())
    }

    /// How the rows become the value, and what their sum is divided by: `mean over N where target != ignore_index`.
    /// `None` for a value that is no mean or sum over rows.
    pub fn reduction(&self) -> Option<&str> {
        self.reduction.as_deref()
    }

    /// The value as definitions, before any rewriting, with the reduction that was asked for.
    pub fn written(&self) -> &Program {
        &self.written
    }

    /// The loss that the options ask for, if it is another one.
    fn asked(&self, options: &Options) -> Result<Option<(Loss, Options)>, Error> {
        if options.reduction.is_none() && !options.weighted {
            return Ok(None);
        }
        let loss = self.reduced(options.reduction, options.weighted)?;
        let options = Options {
            reduction: None,
            weighted: false,
            ..options.clone()
        };
        Ok(Some((loss, options)))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.program.name
    }

    /// Value and gradients as definitions.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The texts that diagnostics point into.
    pub fn sources(&self) -> &Arc<Sources> {
        &self.sources
    }

    /// The rewrites that made the formula stable, in order.
    pub fn rewrites(&self) -> &[Applied] {
        &self.rewrites
    }

    /// Value and gradient as a spec in the same language, which compiles to the same numbers. A loss is one number, so
    /// without a reduction the value is the sum of the rows, whose gradient it is. A text that is too long or too deeply
    /// nested to be read back begins with a comment that says so.
    pub fn gradient_text(&self) -> String {
        let text = print::gradient_text(&compile::as_number(&self.program));
        crate::format::format_text(&text).unwrap_or_else(|problems| {
            let why = problems.first().map_or("", |d| &d.title);
            format!("// This text is not laid out: {why}.\n{text}")
        })
    }

    /// How many axes an input has; `None` for an input of any shape, and for what is no input.
    pub fn axes_of(&self, input: &str) -> Option<usize> {
        let tensors = self.program.inputs.iter().map(|&t| self.program.get(t));
        match &tensors.clone().find(|t| *t.name == *input)?.kind {
            TensorKind::Input(i) => i.shape.as_ref().map(Vec::len),
            TensorKind::Definition(_) => None,
        }
    }

    /// Whether no input has any influence on the value that a derivative could show.
    pub fn has_zero_gradient(&self) -> bool {
        let zero = |t: TensorId| match self.program.body(t) {
            Some(Body::Expr(e)) => self.program.is_number(*e, 0.0),
            Some(Body::Argsort { .. } | Body::Grad { .. }) | None => false,
        };
        !self.program.gradients.is_empty()
            && self
                .program
                .gradients
                .iter()
                .all(|g| g.tensor.is_none_or(zero))
    }

    /// The loss whose gradients are the diagonal of this one's Hessian, d²L/dx² for each element of each input in
    /// `wrt` (or all); with notes on what a diagonal does not show.
    ///
    /// # Errors
    /// A name that is no differentiated input; a diagonal that needs an extra axis.
    pub fn hessian_diagonal(
        &self,
        wrt: Option<&[String]>,
    ) -> Result<(Loss, Vec<Diagnostic>), Error> {
        let wanted = self.wanted(wrt)?;
        let (program, notes) = compile::hessian_diagonal((*self.program).clone(), &wanted)
            .map_err(|d| self.fail(d))?;
        Ok((self.with(program), notes))
    }

    /// The loss whose gradients are Hessian-vector products: for each input x in `wrt` (or all) it has one more input,
    /// [`vector_name`](Loss::vector_name)`(x)`, and the gradient with respect to x is the sum over all of these inputs z of
    /// d²L/dx dz times the vector of z. Its value is the derivative of the loss along the vectors.
    ///
    /// ```
    /// use losscc::{Gradient, Input, Options, Spec};
    ///
    /// let kernel = Spec::open("mse")?.derive()?.hessian_vector(None)?.compile(&Options::default())?;
    /// let (x, y, v) = ([0.0, 3.0], [0.0, 0.0], [1.0, -2.0]);
    /// let inputs = [("yhat", &x), ("y", &y), ("v_yhat", &v)].map(|(n, a)| Input::new(n, a, &[2]));
    /// let mut product = [0.0; 2];
    /// kernel.value_and_grad(&inputs, &[], &mut [Gradient::new("yhat", &mut product)])?;
    /// assert_eq!(product, v);
    /// # Ok::<(), losscc::Error>(())
    /// ```
    ///
    /// # Errors
    /// A name that is no differentiated input.
    pub fn hessian_vector(&self, wrt: Option<&[String]>) -> Result<Loss, Error> {
        let wanted = self.wanted(wrt)?;
        let program =
            compile::hessian_vector((*self.program).clone(), &wanted).map_err(|d| self.fail(d))?;
        Ok(self.with(program))
    }

    /// What [`Loss::hessian_vector`] calls the vector for an input: `v_x`, with underscores after it where the loss has
    /// an input of such a name. `None` for what is no input.
    pub fn vector_name(&self, input: &str) -> Option<String> {
        let p = &self.program;
        let input = p.inputs.iter().find(|&&i| *p.get(i).name == *input)?;
        Some(vector::vector_name(p, *input).to_string())
    }

    /// This loss with another program, made of its own.
    fn with(&self, program: Program) -> Loss {
        let program = Arc::new(program);
        Loss {
            program: program.clone(),
            written: program,
            source: None,
            sources: self.sources.clone(),
            rewrites: vec![],
            reduction: self.reduction.clone(),
        }
    }

    /// The loop nests of a kernel, as text.
    ///
    /// # Errors
    /// As [`Loss::compile`].
    pub fn loops_text(&self, options: &Options) -> Result<String, Error> {
        let loops = self.schedule(options)?;
        Ok(crate::loops::print::print(&loops))
    }

    /// The code of a kernel, as text: for this machine, or for a target by its triple with the features that every
    /// such machine of the last ten years has.
    ///
    /// # Errors
    /// As [`Loss::compile`]; a target that there is no code for.
    pub fn code_text(
        &self,
        options: &Options,
        target: Option<&str>,
    ) -> Result<codegen::CodeText, Error> {
        let loops = self.schedule(options)?;
        let isa = match target {
            Some(triple) => isa::named(triple),
            None => isa::host(isa::Registers::Backtracking),
        };
        let isa = isa.map_err(|r| self.fail(r.into()))?;
        with_stack(|| codegen::text(&loops, options.dtype, &*isa)).map_err(|r| self.fail(r.into()))
    }

    /// Compiles value and gradients for this machine.
    ///
    /// # Errors
    /// A name in `wrt` that is no differentiated input; what does not compile yet, by name.
    pub fn compile(&self, options: &Options) -> Result<Kernel, Error> {
        if let Some((loss, options)) = self.asked(options)? {
            return loss.compile(&options);
        }
        let full = self.schedule(options)?;
        let program = self.program.clone();
        let value: kernel::MakeLoops = Box::new(move || compile::schedule(&program, vec![]));
        let inner = with_stack(|| {
            kernel::Kernel::with_value(full, Some(value), options.dtype, options.many)
        });
        let gradients = self.wanted(options.wrt.as_deref())?;
        Ok(Kernel {
            inner: inner.map_err(|r| self.fail(r.into()))?,
            program: self.program.clone(),
            gradients,
            sources: self.sources.clone(),
        })
    }

    fn schedule(&self, options: &Options) -> Result<Loops, Error> {
        if let Some((loss, options)) = self.asked(options)? {
            return loss.schedule(&options);
        }
        let wanted = self.wanted(options.wrt.as_deref())?;
        compile::schedule(&self.program, wanted).map_err(|d| self.fail(d))
    }

    /// The differentiated inputs that names stand for.
    fn wanted(&self, wrt: Option<&[String]>) -> Result<Vec<TensorId>, Error> {
        let all = self.program.gradients.iter().map(|g| g.input);
        let Some(names) = wrt else {
            return Ok(all.collect());
        };
        let find = |name: &String| {
            let found = all.clone().find(|&t| *self.program.get(t).name == **name);
            found.ok_or_else(|| self.fail(self.not_differentiated(name)))
        };
        let found: Vec<TensorId> = names.iter().map(find).collect::<Result<_, _>>()?;
        match (1..found.len()).find(|&k| found[..k].contains(&found[k])) {
            Some(k) => {
                let title = format!(
                    "the gradient with respect to `{}` is wanted twice",
                    names[k]
                );
                Err(self.fail(Diagnostic::data(title)))
            }
            None => Ok(found),
        }
    }

    fn not_differentiated(&self, name: &str) -> Diagnostic {
        let p = &self.program;
        let names: Vec<&str> = p.gradients.iter().map(|g| &*p.get(g.input).name).collect();
        let d = if p.inputs.iter().any(|&i| *p.get(i).name == *name) {
            Diagnostic::data(format!(
                "`{name}` is given, so `{}` has no gradient with respect to it",
                p.name
            ))
        } else {
            Diagnostic::data(format!("`{}` has no input `{name}`", p.name))
        };
        match suggest::closest(name, names.iter().copied()) {
            Some(near) => d.help(format!("did you mean `{near}`?")),
            None if names.is_empty() => d.note("no input is differentiated"),
            None => d.note(format!("differentiated: {}", names.join(", "))),
        }
    }

    fn fail(&self, diagnostic: Diagnostic) -> Error {
        Error::new(vec![diagnostic], self.sources.clone())
    }
}
