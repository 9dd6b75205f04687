//! The definitions of a program in an order in which they can be computed.

use crate::diagnostic::Diagnostic;
use crate::ir::{self, ExprId, Program, TensorId, TensorKind};

/// The definitions that the outputs need, producers first.
pub(super) fn order(program: &Program) -> Result<Vec<TensorId>, Diagnostic> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut state = vec![State::New; program.tensors.len()];
    let mut out = vec![];
    for root in program.outputs() {
        let mut stack = vec![(root, false)];
        while let Some((t, close)) = stack.pop() {
            if close {
                state[t.index()] = State::Done;
                out.push(t);
                continue;
            }
            if state[t.index()] != State::New || matches!(program.get(t).kind, TensorKind::Input(_))
            {
                continue;
            }
            state[t.index()] = State::Open;
            stack.push((t, true));
            for r in program.reads(t).into_iter().rev() {
                match state[r.index()] {
                    State::New => stack.push((r, false)),
                    State::Open => return Err(recurrence(program, t, r)),
                    State::Done => {}
                }
            }
        }
    }
    Ok(out)
}

fn recurrence(program: &Program, reader: TensorId, read: TensorId) -> Diagnostic {
    let tensor = program.get(reader);
    let place = program
        .reachable(&program.roots(reader))
        .into_iter()
        .find_map(|id| match program.node(id) {
            ir::Node::Read { tensor, index, .. } if *tensor == read => {
                let index: Vec<String> = index.iter().map(|&i| index_text(program, i)).collect();
                Some((index.join(", "), program.span(id)))
            }
            _ => None,
        });
    let (index, span) = place.unwrap_or_default();
    let title = format!(
        "recurrences are not compiled yet: `{}` reads {}[{index}]",
        tensor.name,
        program.get(read).name
    );
    match span.or(tensor.span) {
        Some(span) => Diagnostic::error(title).at(span, ""),
        None => Diagnostic::error(title),
    }
}

fn index_text(program: &Program, id: ExprId) -> String {
    match program.node(id) {
        ir::Node::Axis(a) => program.axes[a.index()].hint.to_string(),
        ir::Node::Int(v) => v.to_string(),
        ir::Node::Size(e) => format!("size({})", program.extents[e.index()].name),
        ir::Node::Op(op @ (ir::Op::Add | ir::Op::Sub), o) if o.len() == 2 => {
            format!(
                "{} {} {}",
                index_text(program, o[0]),
                op.name(),
                index_text(program, o[1])
            )
        }
        ir::Node::Read { tensor, .. } => program.get(*tensor).name.to_string(),
        _ => "..".to_string(),
    }
}
