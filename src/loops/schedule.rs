//! From a program to loops: the passes in their order.

use super::emit::Emitter;
use super::extents::extents;
use super::levels::{self, Orders};
use super::order::order;
use super::part::Parts;
use super::pool::{PartId, Pool};
use super::recurrence::Recurrences;
use super::rounding::compares_across;
use super::*;
use super::{align, contract, inline, normalize, peel, products, storage, unroll};
use crate::diagnostic::Diagnostic;
use crate::ir::{Program, TensorId};

/// What a kernel computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub value: bool,
    /// The inputs with respect to which the gradient is wanted, in this order.
    pub gradients: Vec<TensorId>,
}

/// How often what is recomputed may change what is worth keeping.
const ROUNDS: usize = 3;

/// The loops of one kernel. `program` holds the value and, as far as any kernel of the loss wants them, the gradients:
/// all kernels scheduled from one program add in the same order, so they return the same bits.
///
/// # Errors
/// What is too large, and what is not compiled yet, by name.
pub fn schedule(program: &Program, wanted: &Wanted) -> Result<Loops, Diagnostic> {
    let (loops, across) = scheduled(program, wanted, false)?;
    match across {
        true => Ok(scheduled(program, wanted, true)?.0),
        false => Ok(loops),
    }
}

/// The loops, all `wide` or only where a recurrence asks for it, and whether these compare across precisions.
fn scheduled(program: &Program, wanted: &Wanted, wide: bool) -> Result<(Loops, bool), Diagnostic> {
    let place = |t: &TensorId| {
        program
            .gradients
            .iter()
            .position(|g| g.input == *t)
            .map(|k| k + 1)
    };
    let gradients: Vec<usize> = wanted.gradients.iter().filter_map(place).collect();
    let some = |which: usize| {
        if which == 0 {
            wanted.value
        } else {
            gradients.contains(&which)
        }
    };
    let (mut parts, extents) = prepare(program, wide)?;
    let everything = wanted.value && gradients.len() == program.gradients.len();
    let full = match everything {
        true => None,
        false => Some(fixed(program, wide)?),
    };
    let plan = plan(&mut parts, &some, full.as_ref())?;
    let (loops, outputs) = frame(
        program,
        &parts,
        &plan.classes,
        extents,
        wanted.value,
        &gradients,
    );
    let mut emitter = Emitter::new(&mut parts, &plan.classes, &plan.layout, loops, &outputs);
    let across = full.as_ref().is_some_and(|f| f.across);
    emitter.one_chunk = full.map_or(vec![], |f| f.one_chunk);
    emitter.stages(&plan.tree);
    let loops = emitter.loops;
    let across = across || compares_across(&loops);
    #[cfg(debug_assertions)]
    if let Err(problem) = super::verify::verify(&loops) {
        debug_assert!(false, "{problem}\n{}", super::print::print(&loops));
    }
    Ok((loops, across))
}

/// What the kernel of all outputs decides for the others.
#[derive(Default)]
struct Fixed {
    orders: Orders,
    /// What it computes again where it is read, round by round.
    again: Vec<Vec<PartId>>,
    one_chunk: Vec<PartId>,
    /// Whether it compares across precisions.
    across: bool,
}

fn fixed(program: &Program, wide: bool) -> Result<Fixed, Diagnostic> {
    let (mut parts, extents) = prepare(program, wide)?;
    let plan = plan(&mut parts, &|_| true, None)?;
    let gradients: Vec<usize> = (1..=program.gradients.len()).collect();
    let (loops, outputs) = frame(program, &parts, &plan.classes, extents, true, &gradients);
    let mut emitter = Emitter::new(&mut parts, &plan.classes, &plan.layout, loops, &outputs);
    emitter.stages(&plan.tree);
    Ok(Fixed {
        orders: plan.orders,
        again: plan.again,
        across: compares_across(&emitter.loops),
        one_chunk: emitter.one_chunk,
    })
}

/// Parts of all outputs, unrolled and with cheap maps substituted.
fn prepare(program: &Program, wide: bool) -> Result<(Parts, Vec<LoopExtent>), Diagnostic> {
    let order = order(program);
    let mut pool = Pool::new();
    let (extents, index) = extents(program)?;
    pool.extents = extents
        .iter()
        .map(|e| match e.from {
            ExtentFrom::Constant(n) => Some(n),
            ExtentFrom::Input(_) | ExtentFrom::Expr(_) => None,
        })
        .collect();
    pool.axes = program
        .axes
        .iter()
        .map(|a| (a.hint.clone(), index[a.extent.index()]))
        .collect();
    pool.param_types = program.params.iter().map(|p| p.ty).collect();
    for &input in &program.inputs {
        let tensor = program.get(input);
        let shape = tensor
            .head
            .iter()
            .map(|&a| index[program.extent_of(a).index()])
            .collect();
        pool.input_shapes.push((tensor.ty, shape));
    }
    let mut parts = normalize::normalize(program, pool, &index, &order)?;
    unroll::unroll(&mut parts)?;
    inline::substitute_cheap(&mut parts)?;
    parts.wide |= wide;
    parts.sweep(&|_| true);
    peel::peel(&mut parts);
    products::group_products(&mut parts);
    contract::contract(&mut parts);
    parts.narrow = parts.operands();
    Ok((parts, extents))
}

struct Plan {
    classes: align::Classes,
    tree: Vec<levels::Tree>,
    layout: storage::Layout,
    orders: Orders,
    again: Vec<Vec<PartId>>,
}

/// Loop tree and storage for the wanted outputs; substitutes what is not worth keeping. What the kernel of all outputs
/// computes again, the others do, too, and what it keeps they keep where a `Once` stage reads it: from f32 memory a number
/// has other bits than computed in the f64 of a `Once` stage.
fn plan(
    parts: &mut Parts,
    wanted: &dyn Fn(usize) -> bool,
    full: Option<&Fixed>,
) -> Result<Plan, Diagnostic> {
    let own = Orders::default();
    let orders = full.map_or(&own, |f| &f.orders);
    let there: Vec<PartId> = full
        .iter()
        .flat_map(|f| f.again.iter().flatten().copied())
        .collect();
    parts.sweep(wanted);
    for part in parts.parts.iter_mut().flatten() {
        part.output = part.output.take().filter(|o| wanted(o.which));
    }
    let mut rounds: Vec<Vec<PartId>> = vec![];
    loop {
        let recurrences = Recurrences::find(parts)?;
        let classes = align::align(parts, &recurrences);
        let tree = levels::tree(parts, &classes, &recurrences, orders);
        let mut layout = storage::layout(parts, &classes, &tree);
        let again = if rounds.len() < ROUNDS {
            let mut again = layout.recompute(parts, &classes, &recurrences);
            if full.is_some() {
                let kept = layout.read_once(&there);
                again.retain(|id| !kept.contains(id));
            }
            let there = there.iter();
            again.extend(there.filter(|&&id| parts.get(id).is_some_and(|p| p.output.is_none())));
            again.sort_unstable();
            again.dedup();
            inline::substitutable(parts, again)
        } else {
            vec![]
        };
        if again.is_empty() {
            layout.share(parts, &classes);
            let orders = levels::orders(&tree, &classes);
            return Ok(Plan {
                classes,
                tree,
                layout,
                orders,
                again: rounds,
            });
        }
        inline::substitute(parts, &again, &recurrences);
        rounds.push(again);
    }
}

/// Extents, axes, parameters and the buffers that the caller hands in.
fn frame(
    program: &Program,
    parts: &Parts,
    classes: &align::Classes,
    extents: Vec<LoopExtent>,
    value: bool,
    gradients: &[usize],
) -> (Loops, Vec<Option<BufferId>>) {
    let mut loops = Loops {
        name: program.name.to_string(),
        extents,
        wide: parts.wide,
        ..Loops::default()
    };
    for (name, &extent) in classes.names.iter().zip(&classes.extents) {
        loops.axes.push(LoopAxis {
            name: name.clone(),
            extent,
        });
    }
    loops.params = program
        .params
        .iter()
        .map(|p| LoopParam {
            name: p.name.to_string(),
            ty: p.ty,
            default: p.default,
            domain: p.domain,
        })
        .collect();
    for (k, &input) in program.inputs.iter().enumerate() {
        let tensor = program.get(input);
        let elem = match tensor.ty {
            Type::Real => Elem::Real,
            Type::Int => Elem::Int,
            Type::Bool => Elem::Bool,
        };
        let shape = parts.pool.input_shapes[k].1.iter();
        let dims = shape.zip(&classes.inputs[k]).enumerate();
        let dims = dims.map(|(position, (&extent, c))| BufferDim {
            extent,
            axis: Some(LoopAxisId(c.0)),
            position,
        });
        let dims = dims.collect();
        loops.buffers.push(Buffer {
            name: tensor.name.to_string(),
            elem,
            home: Home::Input,
            dims,
            shares: None,
        });
    }
    let mut outputs = vec![None; parts.outputs.len()];
    for which in value
        .then_some(0)
        .into_iter()
        .chain(gradients.iter().copied())
    {
        let info = &parts.outputs[which];
        let axis = |k: usize| {
            info.input
                .map(|i| LoopAxisId(classes.inputs[i as usize][k].0))
        };
        let dims: Vec<BufferDim> = info
            .shape
            .iter()
            .enumerate()
            .map(|(position, &extent)| BufferDim {
                extent,
                axis: axis(position),
                position,
            })
            .collect();
        let elem = if which == 0 && dims.is_empty() {
            Elem::Sum
        } else {
            Elem::Real
        };
        loops.buffers.push(Buffer {
            name: info.name.to_string(),
            elem,
            home: Home::Output,
            dims,
            shares: None,
        });
        let buffer = BufferId(loops.buffers.len() as u32 - 1);
        outputs[which] = Some(buffer);
        loops.outputs.push(buffer);
    }
    (loops, outputs)
}
