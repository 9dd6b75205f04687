//! What `*` can name: definitions over all elements and nothing else, read at their own elements.

use super::*;

/// Whether the program can be written with `*` for every axis over all elements. Where two of them meet, one meets
/// another axis in a head, or an index is computed of one, they need names: `axis E = size(*)`.
pub(super) fn suffices(program: &Program, live: &[TensorId]) -> bool {
    let over_all = |a: &AxisId| &*program.extents[program.extent_of(*a).index()].name == "*";
    live.iter().all(|&t| {
        let tensor = program.get(t);
        let roots = program.roots(t);
        let alone = tensor.head.len() == 1 || !tensor.head.iter().any(over_all);
        // An axis is printed where it stands as an index of a read, or as a number.
        let read_at = |tensor: &TensorId, index: &[ExprId], bare: bool| {
            let head = &program.get(*tensor).head;
            head.iter()
                .zip(index)
                .all(|(to, &i)| match program.node(i) {
                    Node::Axis(a) => over_all(a) == over_all(to) && (bare || !over_all(a)),
                    _ => !over_all(to),
                })
        };
        let all_elements = |e: &ExprId| matches!(program.node(*e), Node::Axis(a) if over_all(a));
        let numbers = |e: ExprId| {
            let mut found = false;
            program.for_children(e, |c| found |= all_elements(&c));
            found
        };
        let plain = |e: &ExprId| match program.node(*e) {
            Node::Axis(_) => true,
            Node::Read {
                tensor,
                index,
                default,
            } => {
                let number = default.is_some_and(|d| all_elements(&d));
                !number && read_at(tensor, index, default.is_none())
            }
            Node::Reduce {
                axes, guard, body, ..
            } => {
                let own = axes.iter().filter(|a| over_all(a)).count();
                let inside = guard.iter().chain([body]);
                let mut free = inside.flat_map(|&e| program.free(e).iter());
                let other = free.any(|a| over_all(a) && !axes.contains(a));
                !all_elements(body) && (own == 0 || (own == 1 && !other))
            }
            _ => !numbers(*e),
        };
        alone && !roots.iter().any(all_elements) && program.reachable(&roots).iter().all(plain)
    })
}
