//! Every fold in every kind of loop, with and without a guard, against plain Rust; and the documented order of sums.

mod build;

use build::*;
use losscc::codegen::Dtype;
use losscc::ir::{Op, Type};
use losscc::kernel::*;
use losscc::loops::*;

const OPS: [FoldOp; 9] = [
    FoldOp::Sum,
    FoldOp::Prod,
    FoldOp::Max,
    FoldOp::Min,
    FoldOp::Any,
    FoldOp::All,
    FoldOp::Count,
    FoldOp::ArgMax,
    FoldOp::ArgMin,
];

#[derive(Clone, Copy, PartialEq, Debug)]
enum Nest {
    /// `for N: for C xL: fold`
    Lanes,
    /// `for N: for C: fold`
    Plain,
    /// `for N xL: for C: fold`
    Within,
}

/// `out[N] = op[C if keep[N, C]](x[N, C])` as a real, x real or int, or for bools `x > 0`.
fn program(op: FoldOp, ty: Type, nest: Nest, guarded: bool) -> Loops {
    let mut m = Make::new("fold");
    let (rows, n) = m.axis("N");
    let (columns, c) = m.axis("C");
    let dims = [dim(n, rows), dim(c, columns)];
    let elem = if ty == Type::Int {
        Elem::Int
    } else {
        Elem::Real
    };
    let x = m.buffer("x", elem, Home::Input, &dims);
    let keep = m.buffer("keep", Elem::Bool, Home::Input, &dims);
    let value = m.buffer("value", Elem::Sum, Home::Output, &[]);
    let out = m.buffer("out.x", Elem::Real, Home::Output, &[dim(n, rows)]);
    m.loops.outputs = vec![value, out];
    let f = m.fold(op, ty);
    let at = [Index::Axis(rows), Index::Axis(columns)];
    let mut inner = vec![];
    let mut v = m.load(&mut inner, x, &at);
    let guard = guarded.then(|| m.load(&mut inner, keep, &at));
    if matches!(op, FoldOp::Any | FoldOp::All | FoldOp::Count) {
        let zero = m.put(
            &mut inner,
            ty,
            if ty == Type::Int {
                Expr::Int(0)
            } else {
                Expr::Real(0.0)
            },
        );
        v = m.op(&mut inner, Op::Gt, &[v, zero]);
    }
    inner.push(Stmt::Fold {
        id: f,
        value: v,
        guard,
    });
    let result = match op {
        FoldOp::Any | FoldOp::All => Type::Bool,
        FoldOp::Count | FoldOp::ArgMax | FoldOp::ArgMin => Type::Int,
        FoldOp::Sum | FoldOp::Prod | FoldOp::Max | FoldOp::Min => ty,
    };
    let mut outer = vec![each(columns, nest == Nest::Lanes, &[f], inner)];
    let mut r = m.put(&mut outer, result, Expr::Folded(f));
    if matches!(op, FoldOp::ArgMax | FoldOp::ArgMin) {
        let (index, when) = (r, None);
        r = m.put(&mut outer, result, Expr::Found { index, when });
    }
    let r = match result {
        Type::Real => r,
        Type::Int => m.put(&mut outer, Type::Real, Expr::Op(Op::ToReal, vec![r])),
        Type::Bool => {
            let one = m.real(&mut outer, Expr::Real(1.0));
            let zero = m.real(&mut outer, Expr::Real(0.0));
            m.real(&mut outer, Expr::Select(r, one, zero))
        }
    };
    outer.push(set(out, &[Index::Axis(rows)], r));
    let mut once = vec![];
    let zero = m.real(&mut once, Expr::Real(0.0));
    once.push(set(value, &[], zero));
    m.loops.stages = vec![
        Stage::Rows {
            axis: rows,
            row_inputs: vec![(x, 0)],
            single_chunk: false,
            body: vec![each(rows, nest == Nest::Within, &[], outer)],
        },
        Stage::Once(once),
    ];
    m.loops
}

fn element(i: usize) -> i64 {
    ((i.wrapping_mul(2_654_435_761) >> 7) % 13) as i64 - 6
}

fn kept(i: usize) -> bool {
    !(i.wrapping_mul(40_503) >> 4).is_multiple_of(3)
}

/// Plain Rust; `None` where there is nothing to take the index of.
fn expected(op: FoldOp, elements: &[(usize, f64)]) -> Option<f64> {
    let all = elements.iter().map(|e| e.1);
    let best = |sign: f64| {
        let mut best: Option<(usize, f64)> = None;
        for &(i, x) in elements {
            if best.is_none_or(|(_, b)| x * sign > b * sign) {
                best = Some((i, x));
            }
        }
        best.map(|(i, _)| i as f64)
    };
    Some(match op {
        FoldOp::Sum => all.sum(),
        FoldOp::Prod => all.product(),
        FoldOp::Max => all.fold(f64::NEG_INFINITY, f64::max),
        FoldOp::Min => all.fold(f64::INFINITY, f64::min),
        FoldOp::Any => f64::from(all.into_iter().any(|x| x > 0.0)),
        FoldOp::All => f64::from(all.into_iter().all(|x| x > 0.0)),
        FoldOp::Count => all.filter(|x| *x > 0.0).count() as f64,
        FoldOp::ArgMax => best(1.0)?,
        FoldOp::ArgMin => best(-1.0)?,
    })
}

fn check(op: FoldOp, ty: Type, nest: Nest, guarded: bool, dtype: Dtype) {
    let kernel = Kernel::new(program(op, ty, nest, guarded), None, dtype).unwrap();
    for (n, c) in [
        (1, 1),
        (3, 0),
        (0, 3),
        (5, 2),
        (4, 16),
        (7, 17),
        (33, 5),
        (2, 1100),
    ] {
        let real = |i: usize| match op {
            FoldOp::Prod => 1.0 + element(i) as f64 / 64.0,
            _ => element(i) as f64,
        };
        let ints: Vec<i64> = (0..n * c).map(element).collect();
        let wide: Vec<f64> = (0..n * c).map(real).collect();
        let narrow: Vec<f32> = wide.iter().map(|&x| x as f32).collect();
        let keep: Vec<bool> = (0..n * c).map(kept).collect();
        let data = match (ty, dtype) {
            (Type::Int, _) => Data::I64(&ints),
            (_, Dtype::F32) => Data::F32(&narrow),
            (_, Dtype::F64) => Data::F64(&wide),
        };
        let shape = [n, c];
        let inputs = [
            Input {
                name: "x",
                data,
                shape: &shape,
            },
            Input {
                name: "keep",
                data: Data::Bool(&keep),
                shape: &shape,
            },
        ];
        let (mut g32, mut g64) = (vec![0f32; n], vec![0f64; n]);
        let place = match dtype {
            Dtype::F32 => DataMut::F32(&mut g32),
            Dtype::F64 => DataMut::F64(&mut g64),
        };
        let mut out = [Gradient {
            name: "x",
            data: place,
        }];
        let result = kernel.value_and_grad(&inputs, &[], &mut out);
        let what = format!("{op:?} {ty:?} {nest:?} guarded={guarded} {dtype:?} n={n} c={c}");
        for i in 0..n {
            let row: Vec<(usize, f64)> = (0..c)
                .filter(|j| !guarded || kept(i * c + j))
                .map(|j| match ty {
                    Type::Int => (j, ints[i * c + j] as f64),
                    _ => (j, wide[i * c + j]),
                })
                .collect();
            if ty == Type::Int && op == FoldOp::Prod {
                // It wraps; f64 does not.
                continue;
            }
            let Some(want) = expected(op, &row) else {
                assert!(result.is_err(), "{what}");
                break;
            };
            let want = match (ty, op) {
                (Type::Int, FoldOp::Max) if row.is_empty() => i64::MIN as f64,
                (Type::Int, FoldOp::Min) if row.is_empty() => i64::MAX as f64,
                _ => want,
            };
            let got = match dtype {
                Dtype::F32 => f64::from(g32[i]),
                Dtype::F64 => g64[i],
            };
            if result.is_ok() {
                let close =
                    got == want || want.is_finite() && (got - want).abs() <= 2e-6 * want.abs();
                assert!(close, "{what} row {i}: {got}, not {want}");
            }
        }
        let empty = (0..n).any(|i| !(0..c).any(|j| !guarded || kept(i * c + j)));
        let arg = matches!(op, FoldOp::ArgMax | FoldOp::ArgMin);
        assert!(result.is_ok() || (arg && empty), "{what}: {result:?}");
    }
}

#[test]
fn every_fold_in_every_loop() {
    for op in OPS {
        for ty in [Type::Real, Type::Int] {
            for nest in [Nest::Lanes, Nest::Plain, Nest::Within] {
                for guarded in [false, true] {
                    for dtype in [Dtype::F32, Dtype::F64] {
                        check(op, ty, nest, guarded, dtype);
                    }
                }
            }
        }
    }
}

/// NaN passes through max and min wherever it stands.
#[test]
fn nan_passes_the_extremes() {
    for op in [FoldOp::Max, FoldOp::Min] {
        for nest in [Nest::Lanes, Nest::Plain, Nest::Within] {
            let kernel =
                Kernel::new(program(op, Type::Real, nest, false), None, Dtype::F32).unwrap();
            for at in 0..37 {
                let mut x = vec![1.0f32; 37];
                x[at] = f32::NAN;
                x[(at + 5) % 37] = 9.0;
                x[(at + 9) % 37] = -9.0;
                let keep = [true; 37];
                let inputs = [
                    Input {
                        name: "x",
                        data: Data::F32(&x),
                        shape: &[1, 37],
                    },
                    Input {
                        name: "keep",
                        data: Data::Bool(&keep),
                        shape: &[1, 37],
                    },
                ];
                let mut g = [0f32];
                let mut out = [Gradient {
                    name: "x",
                    data: DataMut::F32(&mut g),
                }];
                kernel.value_and_grad(&inputs, &[], &mut out).unwrap();
                assert!(g[0].is_nan(), "{op:?} {nest:?} {at}");
            }
        }
    }
}

/// Lane i mod 16 (8 in f64), the lanes pairwise into an f64 every 1024 elements and at the end.
fn documented(x: &[f32]) -> f64 {
    let mut total = 0.0f64;
    for block in x.chunks(1024) {
        let mut lanes = [0.0f32; 16];
        for (i, v) in block.iter().enumerate() {
            lanes[i % 16] += v;
        }
        let mut width = 16;
        while width > 1 {
            width /= 2;
            for l in 0..width {
                lanes[l] += lanes[l + width];
            }
        }
        total += f64::from(lanes[0]);
    }
    total
}

#[test]
fn sums_add_in_the_documented_order() {
    let kernel = Kernel::new(
        program(FoldOp::Sum, Type::Real, Nest::Lanes, false),
        None,
        Dtype::F32,
    )
    .unwrap();
    for c in [
        1, 3, 4, 5, 15, 16, 17, 500, 512, 1021, 1023, 1024, 1025, 2559, 9000,
    ] {
        let x: Vec<f32> = (0..c).map(|i| (i as f32 * 1.7).sin() * 1e3).collect();
        let keep = vec![true; c];
        let shape = [1, c];
        let inputs = [
            Input {
                name: "x",
                data: Data::F32(&x),
                shape: &shape,
            },
            Input {
                name: "keep",
                data: Data::Bool(&keep),
                shape: &shape,
            },
        ];
        let mut g = [0f32];
        let mut out = [Gradient {
            name: "x",
            data: DataMut::F32(&mut g),
        }];
        kernel.value_and_grad(&inputs, &[], &mut out).unwrap();
        assert_eq!(g[0], documented(&x) as f32, "c={c}");
    }
}
