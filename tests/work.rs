//! Work grows as the formula says: what a schedule executes and keeps is counted at two sizes, not timed.

use losscc::Spec;
use losscc::ir::{Op, Program};
use losscc::loops::{
    Block, ExtentExpr, ExtentFrom, Gemm, Home, Loops, MatrixDim, Stage, Stmt, Wanted, schedule,
};

/// A schedule with an extent for each axis of the inputs.
struct Counted {
    loops: Loops,
    extents: Vec<f64>,
}

/// What a call executes: statements, each as often as the loops around it run, and multiplications of matrix products.
#[derive(Default)]
struct Work {
    statements: f64,
    products: f64,
}

impl Work {
    fn total(&self) -> f64 {
        self.statements + self.products
    }
}

fn program(spec: &str) -> Program {
    let loss = Spec::open(spec).unwrap().derive().unwrap();
    loss.program().clone()
}

fn scheduled(spec: &str, gradients: bool, sizes: &[(&str, f64)]) -> Counted {
    let program = program(spec);
    let gradients = match gradients {
        true => program.gradients.iter().map(|g| g.input).collect(),
        false => vec![],
    };
    let wanted = Wanted {
        value: true,
        gradients,
    };
    let loops = schedule(&program, &wanted).unwrap();
    let mut extents = vec![];
    for e in &loops.extents {
        let n = match &e.from {
            ExtentFrom::Constant(n) => *n as f64,
            ExtentFrom::Input(_) => sizes
                .iter()
                .find(|(name, _)| *name == e.name)
                .map_or_else(|| panic!("no size for {}", e.name), |s| s.1),
            ExtentFrom::Expr(x) => declared(x, &extents),
        };
        extents.push(n);
    }
    Counted { loops, extents }
}

fn declared(x: &ExtentExpr, extents: &[f64]) -> f64 {
    match x {
        ExtentExpr::Int(k) => *k as f64,
        ExtentExpr::Size(e) => extents[e.0 as usize],
        ExtentExpr::Op(Op::Add, o) => declared(&o[0], extents) + declared(&o[1], extents),
        ExtentExpr::Op(Op::Mul, o) => declared(&o[0], extents) * declared(&o[1], extents),
        other => panic!("{other:?}"),
    }
}

impl Counted {
    fn work(&self) -> Work {
        let mut work = Work::default();
        for stage in &self.loops.stages {
            let (Stage::Rows { body, .. } | Stage::Once(body)) = stage;
            self.block(body, 1.0, &mut work);
        }
        work
    }

    fn block(&self, block: &Block, times: f64, work: &mut Work) {
        for s in block {
            match s {
                Stmt::Let(..) | Stmt::Fold { .. } | Stmt::Store { .. } => work.statements += times,
                Stmt::Loop { axis, body, .. } => {
                    let n = self.extents[self.loops.axes[axis.0 as usize].extent.0 as usize];
                    self.block(body, times * n, work);
                }
                Stmt::Fill { to, at, .. } => {
                    let open = |k: usize| at.get(k).is_none_or(|i| i.is_none());
                    work.statements += times * self.cells(to.0, open);
                }
                Stmt::Sort(sort) => {
                    let n = self.cells(sort.into.0, |k| k + 1 == self.dims(sort.into.0));
                    work.statements += times * n * n.max(2.0).log2();
                }
                Stmt::Gemm(gemm) => work.products += times * self.product(gemm),
            }
        }
    }

    fn dims(&self, buffer: u32) -> usize {
        self.loops.buffers[buffer as usize].dims.len()
    }

    /// The cells of a buffer over some of its dims.
    fn cells(&self, buffer: u32, over: impl Fn(usize) -> bool) -> f64 {
        let dims = self.loops.buffers[buffer as usize].dims.iter().enumerate();
        dims.filter(|(k, _)| over(*k))
            .map(|(_, d)| self.extents[d.extent.0 as usize])
            .product()
    }

    fn product(&self, gemm: &Gemm) -> f64 {
        let inner = self.cells(gemm.a.buffer.0, |k| gemm.a.dims[k] == MatrixDim::Inner);
        let of_c = |k: usize| matches!(gemm.c.dims[k], MatrixDim::Rows | MatrixDim::Columns);
        inner * self.cells(gemm.c.buffer.0, of_c)
    }

    /// The cells that a call keeps beside its inputs and outputs.
    fn kept(&self) -> f64 {
        let own =
            self.loops.buffers.iter().enumerate().filter(|(_, b)| {
                b.shares.is_none() && !matches!(b.home, Home::Input | Home::Output)
            });
        own.map(|(k, _)| self.cells(k as u32, |_| true)).sum()
    }
}

/// How much more the second sizes cost than the first.
fn growth(spec: &str, small: &[(&str, f64)], large: &[(&str, f64)]) -> f64 {
    let work = |sizes| scheduled(spec, true, sizes).work().total();
    work(large) / work(small)
}

#[track_caller]
fn about(got: f64, want: f64) {
    assert!((got / want - 1.0).abs() < 0.1, "{got} instead of {want}");
}

#[test]
fn cross_entropy_is_linear_in_rows_and_classes_and_keeps_no_table() {
    let small = [("N", 1000.0), ("C", 500.0)];
    about(
        growth("cross_entropy", &small, &[("N", 2000.0), ("C", 500.0)]),
        2.0,
    );
    about(
        growth("cross_entropy", &small, &[("N", 1000.0), ("C", 1000.0)]),
        2.0,
    );
    // Beside the gradient, at most a few rows.
    assert!(scheduled("cross_entropy", true, &small).kept() < 10.0 * 1000.0);
}

#[test]
fn pairs_are_quadratic_and_sorts_nearly_linear() {
    let queries = |l| [("Q", 10.0), ("L", l)];
    about(growth("ranknet", &queries(500.0), &queries(1000.0)), 4.0);
    let sorted = growth("listmle", &queries(1000.0), &queries(2000.0));
    assert!((2.0..2.3).contains(&sorted), "{sorted}");
}

#[test]
fn info_nce_is_three_matrix_products() {
    let (n, d) = (1000.0, 200.0);
    let sizes = [("N", n), ("D", d)];
    let both = scheduled("info_nce", true, &sizes).work();
    let value = scheduled("info_nce", false, &sizes).work();
    assert_eq!(both.products, 3.0 * n * n * d);
    assert_eq!(value.products, n * n * d);
    assert!(
        both.statements < 40.0 * (n * n + n * d),
        "{}",
        both.statements
    );
}

#[test]
fn crf_nll_is_quadratic_in_its_tags_and_its_gradient_costs_at_most_three_values() {
    let sizes = |t, k| [("B", 8.0), ("T", t), ("K", k)];
    about(
        growth("crf_nll", &sizes(50.0, 64.0), &sizes(100.0, 64.0)),
        2.0,
    );
    about(
        growth("crf_nll", &sizes(50.0, 256.0), &sizes(50.0, 512.0)),
        4.0,
    );
    let both = scheduled("crf_nll", true, &sizes(50.0, 64.0))
        .work()
        .total();
    let value = scheduled("crf_nll", false, &sizes(50.0, 64.0))
        .work()
        .total();
    assert!(both <= 4.0 * value, "{both} and {value}");
}

/// Nothing swells: expressions of the value and all gradients together, each counted once.
#[test]
fn gradients_have_at_most_five_times_the_nodes_of_the_value() {
    for path in std::fs::read_dir("specs").unwrap() {
        let path = path.unwrap().path();
        if path.extension().is_none_or(|e| e != "loss") {
            continue;
        }
        let program = program(path.to_str().unwrap());
        let nodes = |outputs: &[_]| {
            let groups = losscc::interp::groups(&program, outputs);
            let roots: Vec<_> = groups
                .concat()
                .into_iter()
                .flat_map(|t| program.roots(t))
                .collect();
            program.reachable(&roots).len()
        };
        let (value, all) = (nodes(&[program.value]), nodes(&program.outputs()));
        assert!(all <= 5 * value, "{}: {all} and {value}", program.name);
    }
}
