//! Whether each load sees what was stored: every store of its cell runs before it. That is an earlier statement of the
//! same step of all loops around both, or any statement of a step that comes earlier in the way a loop runs.

use crate::loops::*;

/// Checks all loads of buffers that the kernel itself writes.
///
/// # Errors
/// The first load that may run before a store of its cell.
pub(super) fn check(loops: &Loops) -> Result<(), String> {
    let mut walk = Walk {
        accesses: vec![],
        path: vec![],
        loops: 0,
    };
    for stage in &loops.stages {
        let (Stage::Rows { body, .. } | Stage::Once(body)) = stage;
        walk.block(body);
    }
    let mut writes: Vec<Vec<usize>> = vec![vec![]; loops.buffers.len()];
    for (k, a) in walk.accesses.iter().enumerate() {
        if a.write {
            writes[a.buffer.0 as usize].push(k);
        }
    }
    for (place, load) in walk.accesses.iter().enumerate().filter(|(_, a)| !a.write) {
        for &w in &writes[load.buffer.0 as usize] {
            let write = &walk.accesses[w];
            if !other_cell(write, load) && !runs_before(write, load, w < place) {
                let name = &loops.buffers[load.buffer.0 as usize].name;
                return Err(format!("{name} is read before it is written"));
            }
        }
    }
    Ok(())
}

/// One load or store, in the order of the text.
struct Access {
    buffer: BufferId,
    /// `None`: all of this position.
    at: Vec<Option<Index>>,
    write: bool,
    /// The loops around it, outermost first, each by a number of its own.
    path: Vec<(usize, LoopAxisId, Direction)>,
}

/// Whether two accesses are of different cells whatever the axes are.
fn other_cell(a: &Access, b: &Access) -> bool {
    let differ = |(a, b): (&Option<Index>, &Option<Index>)| match (a, b) {
        (Some(Index::Const(a)), Some(Index::Const(b))) => a != b,
        _ => false,
    };
    a.at.iter().zip(&b.at).any(differ)
}

fn runs_before(write: &Access, load: &Access, earlier: bool) -> bool {
    for (a, b) in write.path.iter().zip(&load.path) {
        if a.0 != b.0 {
            break;
        }
        let (_, axis, direction) = *a;
        let own = |i: &Option<Index>| *i == Some(Index::Axis(axis));
        // A cell without a position for the loop is written in each of its steps: this step's counts.
        let Some(place) = write.at.iter().position(own) else {
            continue;
        };
        match &load.at[place] {
            Some(Index::Axis(c)) if *c == axis => {}
            Some(Index::Shift(c, by)) if *c == axis => {
                return match direction {
                    Direction::Up => *by < 0,
                    Direction::Down => *by > 0,
                };
            }
            _ => return false,
        }
    }
    earlier
}

struct Walk {
    accesses: Vec<Access>,
    path: Vec<(usize, LoopAxisId, Direction)>,
    /// How many loops there were so far.
    loops: usize,
}

impl Walk {
    fn add(&mut self, buffer: BufferId, at: Vec<Option<Index>>, write: bool) {
        let path = self.path.clone();
        self.accesses.push(Access {
            buffer,
            at,
            write,
            path,
        });
    }

    fn block(&mut self, block: &Block) {
        let some = |at: &[Index]| at.iter().cloned().map(Some).collect::<Vec<_>>();
        for s in block {
            match s {
                Stmt::Let(_, Expr::Load { from, at, .. }) => self.add(*from, some(at), false),
                Stmt::Let(..) | Stmt::Fold { .. } => {}
                Stmt::Gemm(gemm) => {
                    for (m, write) in [(&gemm.a, false), (&gemm.b, false), (&gemm.c, true)] {
                        let index = |d: &MatrixDim| match d {
                            MatrixDim::At(i) => Some(i.clone()),
                            MatrixDim::Rows | MatrixDim::Columns | MatrixDim::Inner => None,
                        };
                        self.add(m.buffer, m.dims.iter().map(index).collect(), write);
                    }
                }
                Stmt::Loop {
                    axis,
                    direction,
                    body,
                    ..
                } => {
                    self.loops += 1;
                    self.path.push((self.loops, *axis, *direction));
                    self.block(body);
                    self.path.pop();
                }
                Stmt::Store { to, at, .. } => self.add(*to, some(at), true),
                Stmt::Fill { to, at, .. } => self.add(*to, at.clone(), true),
                Stmt::If { then, .. } => self.block(then),
                Stmt::Sort(sort) => {
                    let whole = |at: &[Index]| {
                        let mut at = some(at);
                        at.push(None);
                        at
                    };
                    self.add(sort.keys, whole(&sort.keys_at), false);
                    if let Some((kept, at)) = &sort.kept {
                        self.add(*kept, whole(at), false);
                    }
                    self.add(sort.into, whole(&sort.at), true);
                }
            }
        }
    }
}
