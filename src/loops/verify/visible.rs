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
        let body = stage.body();
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

#[cfg(test)]
mod tests {
    use crate::grad::differentiate;
    use crate::loops::verify::verify;
    use crate::loops::*;
    use crate::lower::tests::accept;
    use crate::rewrite::simplify::simplify;

    const SOURCES: [&str; 4] = [
        "loss f(x: [N, T]) = mean[N](a[N, size(T) - 1 else 0]^2) where a[N, T] = sin(x) * a[N, T - 1 else 1]",
        "loss f(x: [T, K], u: [K, K]) = sum[K](h[0, K else 0]^2)
           where h[T, K] = tanh(x + sum[J](u[J, K] * h[T + 1, J else 0.5]))",
        "loss f(x: [I, J]) = sum(r^2) where r[I, J] = max(x + r[I - 1, J else 0], sin(r[I, J - 1 else 0]))",
        "loss f(x: [N, T]) = sum(b^2) where a[N, T] = exp(b[N, T - 1 else 0])  b[N, T] = x / (1 + a^2)",
    ];

    fn loops(source: &str) -> Loops {
        let mut program = accept(source).program;
        differentiate(&mut program);
        let outputs = program.outputs();
        simplify(&mut program, &outputs);
        let gradients = program.gradients.iter().map(|g| g.input).collect();
        let value = true;
        schedule(&program, &Wanted { value, gradients }).expect("a schedule")
    }

    /// Calls `f` on each statement, outer ones first.
    fn each(block: &mut Block, f: &mut dyn FnMut(&mut Stmt)) {
        for s in block {
            f(s);
            if let Stmt::Loop { body, .. } = s {
                each(body, f);
            }
        }
    }

    fn each_of(loops: &mut Loops, f: &mut dyn FnMut(&mut Stmt)) {
        for stage in &mut loops.stages {
            let (Stage::Rows { body, .. } | Stage::Once(body)) = stage;
            each(body, f);
        }
    }

    /// How many mutants are caught, and how many there are: `mutate` changes a statement and says so.
    fn caught(loops: &Loops, mutate: &dyn Fn(&Loops, &mut Stmt) -> bool) -> (usize, usize) {
        let (mut all, mut caught) = (0, 0);
        loop {
            let (mut mutant, mut seen, mut done) = (loops.clone(), 0, false);
            each_of(&mut mutant, &mut |s| {
                let before = s.clone();
                if !done && mutate(loops, s) {
                    seen += 1;
                    match seen > all {
                        true => done = true,
                        false => *s = before,
                    }
                }
            });
            if !done {
                return (caught, all);
            }
            all += 1;
            caught += usize::from(verify(&mutant).is_err());
        }
    }

    /// The shifted indices of loads of what the kernel itself stores.
    fn shifts<'a>(loops: &Loops, s: &'a mut Stmt) -> Vec<&'a mut Index> {
        match s {
            Stmt::Let(_, Expr::Load { from, at, .. })
                if loops.buffers[from.0 as usize].home != Home::Input =>
            {
                let shifted = |i: &&mut Index| matches!(i, Index::Shift(..));
                at.iter_mut().filter(shifted).collect()
            }
            _ => vec![],
        }
    }

    #[test]
    fn reads_of_steps_to_come_are_caught() {
        for source in SOURCES {
            let loops = loops(source);
            verify(&loops).expect("the schedule as it is");
            let turned = |l: &Loops, s: &mut Stmt| {
                let mut all = shifts(l, s);
                for i in &mut all {
                    if let Index::Shift(_, by) = i {
                        *by = -*by;
                    }
                }
                !all.is_empty()
            };
            let stays = |l: &Loops, s: &mut Stmt| {
                let mut all = shifts(l, s);
                for i in &mut all {
                    if let Index::Shift(axis, _) = **i {
                        **i = Index::Axis(axis);
                    }
                }
                !all.is_empty()
            };
            let first = |l: &Loops, s: &mut Stmt| {
                let mut all = shifts(l, s);
                all.iter_mut().for_each(|i| **i = Index::Const(0));
                !all.is_empty()
            };
            for (what, mutate) in [
                ("turned", &turned as &dyn Fn(&Loops, &mut Stmt) -> bool),
                ("this step's", &stays),
                ("the first step's", &first),
            ] {
                let (caught, all) = caught(&loops, mutate);
                assert!(all > 0, "{what}: {source}");
                // A load of this step's element is right after its store, and one of another loop's result always.
                let enough = if what == "turned" { all.div_ceil(2) } else { 1 };
                assert!(caught >= enough, "{what}: {caught} of {all}\n{source}");
            }
        }
    }

    #[test]
    fn loops_that_run_the_wrong_way_are_caught() {
        for source in SOURCES {
            let loops = loops(source);
            // What loops must run the way they do: those in which a load sees another step.
            let (caught, all) = caught(&loops, &|_, s| match s {
                Stmt::Loop {
                    direction,
                    lanes: false,
                    ..
                } => {
                    *direction = match direction {
                        Direction::Up => Direction::Down,
                        Direction::Down => Direction::Up,
                    };
                    true
                }
                _ => false,
            });
            assert!(caught >= 2, "{caught} of {all}\n{source}");
        }
    }
}
