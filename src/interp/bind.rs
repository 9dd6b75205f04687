//! From a caller's data to what a program runs on: arrays of the right types, extents, hyperparameters.

use super::scalar::{self, Scalar};
use crate::array::{Array, place};
use crate::diagnostic::Diagnostic;
use crate::ir::{
    Dim, Domain, ExprId, ExtentId, ExtentKind, Node, Program, TensorId, TensorKind, Type,
};
use crate::suggest;

/// Data that fit a program.
#[derive(Debug, Clone)]
pub struct Bound {
    /// One array for each of the program's inputs, in their order, flat where the input is untyped.
    pub inputs: Vec<Array>,
    /// The shapes as they were given, for results that look like the inputs.
    pub shapes: Vec<Vec<usize>>,
    /// Indexed by `ExtentId`.
    pub extents: Vec<usize>,
    /// Indexed by `ParamId`.
    pub params: Vec<Scalar>,
}

/// Checks the data against the program: every input there, of a type that converts without loss and of the right
/// shape; hyperparameters known, in their domains, and none missing. Arrays that the program does not name are
/// ignored.
///
/// # Errors
/// All that is wrong with the data, in the order of the signature.
pub fn bind(
    program: &Program,
    data: &[(&str, &Array)],
    set: &[(&str, f64)],
) -> Result<Bound, Vec<Diagnostic>> {
    let mut errors = vec![];
    let params = params(program, set, &mut errors);
    let (mut inputs, mut unfit) = fitted(program, data);
    errors.append(&mut unfit);
    if !errors.is_empty() {
        return Err(errors);
    }
    let shapes: Vec<Vec<usize>> = inputs.iter().map(|a| a.shape.clone()).collect();
    let extents = extents(program, &mut inputs, &params).map_err(|e| vec![e])?;
    Ok(Bound {
        inputs,
        shapes,
        extents,
        params,
    })
}

/// One array for each of the program's inputs, in their order, of its type and as far as the signature says it of its
/// shape; and what does not fit.
pub fn fitted(program: &Program, data: &[(&str, &Array)]) -> (Vec<Array>, Vec<Diagnostic>) {
    let (mut inputs, mut errors) = (vec![], vec![]);
    let given = |t: TensorId| {
        let found = data.iter().find(|(n, _)| **n == *program.get(t).name);
        found.map(|(_, array)| *array)
    };
    for &t in &program.inputs {
        let Some(array) = given(t) else {
            errors.push(missing(program, t, data));
            continue;
        };
        let fitting = match no_rows(program, t, array, &given) {
            Some(empty) => fit(program, t, &empty),
            None => fit(program, t, array),
        };
        match fitting {
            Ok(array) => inputs.push(array),
            Err(e) => errors.push(e),
        }
    }
    (inputs, errors)
}

/// An empty list where several axes are wanted has no rows; it cannot say how long they are, so the other inputs do, or
/// they are empty, too.
fn no_rows<'a>(
    program: &Program,
    input: TensorId,
    array: &Array,
    given: &impl Fn(TensorId) -> Option<&'a Array>,
) -> Option<Array> {
    let dims = |t: TensorId| match &program.get(t).kind {
        TensorKind::Input(i) => i.shape.as_deref(),
        TensorKind::Definition(_) => None,
    };
    let own = dims(input).filter(|d| d.len() > 1 && array.shape == [0])?;
    let elsewhere = |axis: &Dim| {
        program.inputs.iter().find_map(|&t| {
            let k = dims(t)?.iter().position(|d| d == axis)?;
            let shape = &given(t)?.shape;
            (shape.len() == dims(t)?.len()).then(|| shape[k])
        })
    };
    let rest = own[1..].iter().map(|d| match d {
        Dim::Constant(n) => *n as usize,
        Dim::Named(_) => elsewhere(d).unwrap_or(0),
    });
    Some(Array {
        shape: std::iter::once(0).chain(rest).collect(),
        data: array.data.clone(),
    })
}

fn missing(program: &Program, input: TensorId, data: &[(&str, &Array)]) -> Diagnostic {
    let t = program.get(input);
    let mut d = Diagnostic::data(format!(
        "the data has no `{}`, which `{}` needs",
        t.name, program.name
    ));
    let unused = |n: &&str| !program.inputs.iter().any(|&i| *program.get(i).name == **n);
    let names: Vec<&str> = data.iter().map(|(n, _)| *n).filter(unused).collect();
    if let Some(near) = suggest::closest(&t.name, names) {
        d = d.help(format!("there is a `{near}`; name it `{}`", t.name));
    } else if !data.is_empty() {
        let all: Vec<String> = data.iter().map(|(n, _)| format!("`{n}`")).collect();
        d = d.note(format!("the data has {}", all.join(", ")));
    }
    d.note(format!("`{}` is {}", t.name, describe(program, input)))
}

/// What an input is to be, for messages: `int[N, C]`, or `an array of any shape`.
fn describe(program: &Program, input: TensorId) -> String {
    let t = program.get(input);
    let kind = match t.ty {
        Type::Real => "",
        Type::Int => "int",
        Type::Bool => "bool",
    };
    match &t.kind {
        TensorKind::Input(i) => match &i.shape {
            None => "an array of any shape".into(),
            Some(dims) if dims.is_empty() && kind.is_empty() => "a single number".into(),
            Some(dims) => {
                let dim = |d: &Dim| match d {
                    Dim::Named(n) => n.to_string(),
                    Dim::Constant(n) => n.to_string(),
                };
                format!(
                    "{kind}[{}]",
                    dims.iter().map(dim).collect::<Vec<_>>().join(", ")
                )
            }
        },
        TensorKind::Definition(_) => kind.into(),
    }
}

fn fit(program: &Program, input: TensorId, array: &Array) -> Result<Array, Diagnostic> {
    let t = program.get(input);
    let shape = array.shape.clone();
    let array = array.clone().convert(t.ty).map_err(|m| {
        let wanted = match t.ty {
            Type::Real => "a number that f64 holds exactly",
            Type::Int => "a whole number",
            Type::Bool => "true or false (or 1 or 0)",
        };
        Diagnostic::data(format!(
            "`{}` at {} is {}, not {wanted}",
            t.name,
            place(&shape, m.position),
            m.value
        ))
        .note(format!("`{}` is {}", t.name, describe(program, input)))
    })?;
    let TensorKind::Input(info) = &t.kind else {
        return Ok(array);
    };
    let Some(dims) = &info.shape else {
        return Ok(array);
    };
    let wrong = |what: String| {
        Err(Diagnostic::data(format!(
            "`{}` has the shape {:?}, {what}",
            t.name, array.shape
        ))
        .note(format!("`{}` is {}", t.name, describe(program, input))))
    };
    if dims.len() != array.shape.len() {
        let have = match array.shape.len() {
            0 => "no axis".into(),
            1 => "one axis".into(),
            n => format!("{n} axes"),
        };
        return wrong(format!("which is {have} instead of {}", dims.len()));
    }
    for (k, (dim, &n)) in dims.iter().zip(&array.shape).enumerate() {
        if let Dim::Constant(c) = dim
            && *c != n as u64
        {
            return wrong(format!("but position {} must be {c}", k + 1));
        }
    }
    Ok(array)
}

/// What is wrong with hyperparameters given by name.
pub fn misset(program: &Program, set: &[(&str, f64)]) -> Vec<Diagnostic> {
    let mut errors = vec![];
    params(program, set, &mut errors);
    errors
}

fn params(program: &Program, set: &[(&str, f64)], errors: &mut Vec<Diagnostic>) -> Vec<Scalar> {
    for (name, _) in set {
        if !program.params.iter().any(|p| *p.name == **name) {
            let mut d =
                Diagnostic::data(format!("`{}` has no hyperparameter `{name}`", program.name));
            let near = program
                .params
                .iter()
                .find(|p| strsim::damerau_levenshtein(name, &p.name) <= 2);
            if let Some(near) = near {
                d = d.help(format!("did you mean `{}`?", near.name));
            } else if program.params.is_empty() {
                d = d.note("it has none");
            } else {
                let all: Vec<String> = program
                    .params
                    .iter()
                    .map(|p| format!("`{}`", p.name))
                    .collect();
                d = d.note(format!("it has {}", all.join(", ")));
            }
            errors.push(d);
        }
    }
    let mut out = vec![];
    for p in &program.params {
        let given = set
            .iter()
            .rev()
            .find(|(n, _)| **n == *p.name)
            .map(|(_, v)| *v);
        let Some(value) = given.or(p.default) else {
            errors.push(crate::ir::unset(&p.name, p.domain.as_ref()));
            out.push(Scalar::Real(f64::NAN));
            continue;
        };
        if let Some(domain) = &p.domain
            && !domain.contains(value)
        {
            errors.push(Diagnostic::data(format!(
                "`{}` is {value}, outside of its domain {domain}",
                p.name
            )));
        }
        out.push(match p.ty {
            Type::Real => Scalar::Real(value),
            Type::Int => {
                let wrong = if value.trunc() != value {
                    Some(format!("is {value}, not a whole number"))
                } else {
                    (value.abs() >= 9.2e18).then(|| "is beyond 64 bits".into())
                };
                let error = |w| Diagnostic::data(format!("`{}` {w}", p.name));
                errors.extend(wrong.map(error));
                Scalar::Int(value as i64)
            }
            Type::Bool => Scalar::Bool(value != 0.0),
        });
    }
    out
}

impl Domain {
    /// Whether a value lies in the interval; NaN does not.
    pub fn contains(&self, value: f64) -> bool {
        let low = if self.low_included {
            value >= self.low
        } else {
            value > self.low
        };
        let high = if self.high_included {
            value <= self.high
        } else {
            value < self.high
        };
        low && high
    }
}

impl std::fmt::Display for Domain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (open, close) = (
            if self.low_included { '[' } else { '(' },
            if self.high_included { ']' } else { ')' },
        );
        write!(f, "{open}{}, {}{close}", self.low, self.high)
    }
}

/// Every extent from the shapes; untyped inputs become flat on the way.
fn extents(
    program: &Program,
    inputs: &mut [Array],
    params: &[Scalar],
) -> Result<Vec<usize>, Diagnostic> {
    let mut known: Vec<Option<(usize, TensorId, usize)>> = vec![None; program.extents.len()];
    let mut star: Option<(TensorId, Vec<usize>)> = None;
    for (&t, array) in program.inputs.iter().zip(inputs.iter_mut()) {
        let tensor = program.get(t);
        if let TensorKind::Input(info) = &tensor.kind
            && info.shape.is_none()
        {
            match &star {
                Some((first, shape)) if *shape != array.shape => {
                    let first = &program.get(*first).name;
                    return Err(Diagnostic::data(format!(
                        "`{}` has the shape {:?}, but `{first}` has {shape:?}",
                        tensor.name, array.shape
                    ))
                    .note("inputs without a declared shape have one shape in common"));
                }
                _ => star = Some((t, array.shape.clone())),
            }
            array.shape = vec![array.len()];
        }
        for (k, (&axis, &n)) in tensor.head.iter().zip(&array.shape).enumerate() {
            let slot = &mut known[program.extent_of(axis).index()];
            match *slot {
                Some((m, other, at)) if m != n => {
                    let (a, b) = (&program.get(other).name, &tensor.name);
                    let axis = &program.extents[program.extent_of(axis).index()].name;
                    return Err(Diagnostic::data(format!(
                        "axis {axis} has {m} elements in `{a}` and {n} in `{b}`"
                    ))
                    .note(format!(
                        "position {} of `{a}`, position {} of `{b}`",
                        at + 1,
                        k + 1
                    )));
                }
                Some(_) => {}
                None => *slot = Some((n, t, k)),
            }
        }
    }
    all_extents(program, &known, params)
}

/// Every extent of a program, given those that come from data (`None` counts as 0).
///
/// # Errors
/// A declared extent that is negative, too large, or divides by 0.
pub fn extents_for(
    program: &Program,
    given: &[Option<usize>],
    params: &[Scalar],
) -> Result<Vec<usize>, Diagnostic> {
    let known: Vec<_> = given
        .iter()
        .map(|g| g.map(|n| (n, TensorId(0), 0)))
        .collect();
    all_extents(program, &known, params)
}

fn all_extents(
    program: &Program,
    known: &Known,
    params: &[Scalar],
) -> Result<Vec<usize>, Diagnostic> {
    let mut out: Vec<usize> = vec![0; program.extents.len()];
    let mut done = vec![false; program.extents.len()];
    for e in 0..program.extents.len() {
        compute(
            program,
            ExtentId(e as u32),
            known,
            params,
            &mut out,
            &mut done,
        )?;
    }
    Ok(out)
}

type Known = [Option<(usize, TensorId, usize)>];

fn compute(
    program: &Program,
    extent: ExtentId,
    known: &Known,
    params: &[Scalar],
    out: &mut [usize],
    done: &mut [bool],
) -> Result<(), Diagnostic> {
    if std::mem::replace(&mut done[extent.index()], true) {
        return Ok(());
    }
    let e = &program.extents[extent.index()];
    let given = known[extent.index()];
    let value = match e.kind {
        ExtentKind::Input => given.map_or(0, |(n, ..)| n),
        ExtentKind::Constant(c) => c as usize,
        ExtentKind::Declared(expr) => {
            let n = int(program, expr, known, params, out, done)?.ok_or_else(|| {
                Diagnostic::data(format!(
                    "the extent of axis {} overflows, or an int is divided by 0 in it",
                    e.name
                ))
            })?;
            match usize::try_from(n) {
                Ok(n) => n,
                Err(_) => {
                    return Err(Diagnostic::data(format!(
                        "axis {} has the extent {n}, less than nothing",
                        e.name
                    )));
                }
            }
        }
    };
    if let Some((n, t, k)) = given
        && n != value
    {
        return Err(Diagnostic::data(format!(
            "axis {} is declared to have {value} elements, but position {} of `{}` has {n}",
            e.name,
            k + 1,
            program.get(t).name
        )));
    }
    out[extent.index()] = value;
    Ok(())
}

/// The value of a declared extent's expression, which is made of sizes, hyperparameters and constants; `None` for an
/// overflow or a division by 0.
fn int(
    program: &Program,
    id: ExprId,
    known: &Known,
    params: &[Scalar],
    out: &mut [usize],
    done: &mut [bool],
) -> Result<Option<i64>, Diagnostic> {
    Ok(match program.node(id) {
        Node::Int(n) => Some(*n),
        Node::Bool(b) => Some(i64::from(*b)),
        Node::Param(p) => Some(params[p.index()].int()),
        Node::Size(e) => {
            compute(program, *e, known, params, out, done)?;
            i64::try_from(out[e.index()]).ok()
        }
        Node::Op(op, operands) => {
            let mut values = vec![];
            for &o in operands {
                let Some(v) = int(program, o, known, params, out, done)? else {
                    return Ok(None);
                };
                values.push(v);
            }
            scalar::checked(*op, &values)
        }
        Node::If {
            condition,
            then,
            otherwise,
        } => match int(program, *condition, known, params, out, done)? {
            Some(0) => int(program, *otherwise, known, params, out, done)?,
            Some(_) => int(program, *then, known, params, out, done)?,
            None => None,
        },
        Node::Real(_) | Node::Axis(_) | Node::Read { .. } | Node::Reduce { .. } => {
            return Err(Diagnostic::error(
                "the extent of an axis is made of sizes, hyperparameters and constants",
            ));
        }
    })
}
