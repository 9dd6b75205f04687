//! Every operator of the IR: machine code against the interpreter's definition, f32 and f64, at sizes around a vector.

mod build;

use build::*;
use losscc::codegen::Dtype;
use losscc::interp::scalar::{Scalar, apply};
use losscc::ir::{Op, Type};
use losscc::kernel::*;
use losscc::loops::*;

const SIZES: [usize; 9] = [0, 1, 2, 3, 4, 5, 15, 17, 1021];

/// What the operands of an operator are.
fn operands(op: Op) -> Vec<Vec<Type>> {
    use Type::{Bool, Int, Real};
    match op {
        Op::Add | Op::Sub | Op::Mul | Op::Max | Op::Min => vec![vec![Real; 2], vec![Int; 2]],
        Op::Neg | Op::Abs | Op::Sign => vec![vec![Real], vec![Int]],
        Op::Clamp => vec![vec![Real; 3], vec![Int; 3]],
        Op::IntDiv | Op::Mod => vec![vec![Int; 2]],
        Op::Div | Op::Pow | Op::Atan2 | Op::Xlogy => vec![vec![Real; 2]],
        Op::LogSumExp | Op::StopGradient => vec![],
        Op::Polygamma => vec![vec![Int, Real]],
        Op::ToReal => vec![vec![Int]],
        Op::ToInt => vec![vec![Real]],
        Op::Eq | Op::Ne => vec![vec![Real; 2], vec![Int; 2], vec![Bool; 2]],
        Op::Lt | Op::Le | Op::Gt | Op::Ge => vec![vec![Real; 2], vec![Int; 2]],
        Op::And | Op::Or => vec![vec![Bool; 2]],
        Op::Not => vec![vec![Bool]],
        Op::Sqrt
        | Op::Exp
        | Op::Expm1
        | Op::Log
        | Op::Log1p
        | Op::Log2
        | Op::Sin
        | Op::Cos
        | Op::Tan
        | Op::Asin
        | Op::Acos
        | Op::Atan
        | Op::Sinh
        | Op::Cosh
        | Op::Tanh
        | Op::Sigmoid
        | Op::Softplus
        | Op::Relu
        | Op::Floor
        | Op::Ceil
        | Op::Round
        | Op::Erf
        | Op::Lgamma
        | Op::Digamma => vec![vec![Real]],
    }
}

const REALS: [f64; 24] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    2.0,
    3.5,
    -2.5,
    1e-3,
    -1e-3,
    7.25,
    -8.75,
    20.0,
    -20.0,
    88.0,
    -90.0,
    300.0,
    1e10,
    -1e10,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
    0.75,
];
const INTS: [i64; 12] = [
    0,
    1,
    -1,
    2,
    -3,
    7,
    -7,
    100,
    i64::MAX,
    i64::MIN,
    1 << 40,
    -(1 << 33),
];

fn elem(ty: Type) -> Elem {
    match ty {
        Type::Real => Elem::Real,
        Type::Int => Elem::Int,
        Type::Bool => Elem::Bool,
    }
}

/// `out[i] = op(a[i], ..)` as a real output (ints and bools as 0 or 1 through a conversion), in lanes or one by one.
fn program(op: Op, types: &[Type], lanes: bool) -> (Loops, Type) {
    let mut m = Make::new("op");
    let (axis, extent) = m.axis("*");
    let dims = [dim(extent, axis)];
    let names = ["a", "b", "c"];
    let inputs: Vec<BufferId> = types
        .iter()
        .zip(names)
        .map(|(&ty, n)| m.buffer(n, elem(ty), Home::Input, &dims))
        .collect();
    let value = m.buffer("value", Elem::Sum, Home::Output, &[]);
    let out = m.buffer("out.a", Elem::Real, Home::Output, &dims);
    m.loops.outputs = vec![value, out];
    let at = [Index::Axis(axis)];
    let mut body = vec![];
    let args: Vec<ValueId> = inputs.iter().map(|&b| m.load(&mut body, b, &at)).collect();
    let result = op.result(types[types.len() - 1]);
    let r = match op {
        Op::IntDiv | Op::Mod => {
            let zero = m.put(&mut body, Type::Int, Expr::Int(0));
            let when = m.op(&mut body, Op::Ne, &[args[1], zero]);
            let (a, b) = (args[0], args[1]);
            let d = m.put(
                &mut body,
                Type::Int,
                Expr::Divide {
                    op,
                    a,
                    b,
                    when: Some(when),
                },
            );
            // Where it is not asked for, the result is 0.
            m.put(&mut body, Type::Int, Expr::Select(when, d, zero))
        }
        _ => m.put(&mut body, result, Expr::Op(op, args)),
    };
    let r = match result {
        Type::Real => r,
        Type::Int => {
            // Both halves, so that nothing is rounded away: the low 20 bits decide here.
            let k = m.put(&mut body, Type::Int, Expr::Int(1 << 20));
            let low = m.put(
                &mut body,
                Type::Int,
                Expr::Divide {
                    op: Op::Mod,
                    a: r,
                    b: k,
                    when: None,
                },
            );
            m.put(&mut body, Type::Real, Expr::Op(Op::ToReal, vec![low]))
        }
        Type::Bool => {
            let one = m.real(&mut body, Expr::Real(1.0));
            let zero = m.real(&mut body, Expr::Real(0.0));
            m.real(&mut body, Expr::Select(r, one, zero))
        }
    };
    body.push(set(out, &at, r));
    let mut once = vec![];
    let zero = m.real(&mut once, Expr::Real(0.0));
    once.push(set(value, &[], zero));
    m.loops.stages = vec![
        Stage::Rows {
            axis,
            row_inputs: vec![(inputs[0], 0)],
            single_chunk: false,
            body: vec![each(axis, lanes, &[], body)],
        },
        Stage::Once(once),
    ];
    (m.loops, result)
}

/// All operand tuples, or as many as fit, in an order that is no pattern of the lanes.
fn tuple(op: Op, types: &[Type], i: usize) -> Vec<Scalar> {
    let mut k = i.wrapping_mul(2_654_435_761) >> 3;
    let mut out = vec![];
    for (position, &ty) in types.iter().enumerate() {
        out.push(match ty {
            Type::Real => {
                let x = REALS[k % REALS.len()];
                k = k / REALS.len() + 7 * position + i;
                Scalar::Real(x)
            }
            Type::Int if op == Op::Polygamma => Scalar::Int((k % 4) as i64),
            Type::Int => {
                let x = INTS[k % INTS.len()];
                k = k / INTS.len() + 5 * position + i;
                Scalar::Int(x)
            }
            Type::Bool => {
                k = k / 2 + i / 2;
                Scalar::Bool(k % 2 == 1)
            }
        });
    }
    out
}

fn expected(op: Op, args: &[Scalar], result: Type) -> f64 {
    let divides = matches!(op, Op::IntDiv | Op::Mod);
    let r = apply(op, args).unwrap_or(Scalar::Int(0));
    match (r, result) {
        (Scalar::Int(n), _) if divides || result == Type::Int => n.rem_euclid(1 << 20) as f64,
        (Scalar::Int(n), _) => n as f64,
        (Scalar::Real(x), _) => x,
        (Scalar::Bool(b), _) => f64::from(b),
    }
}

fn run(
    kernel: &Kernel,
    dtype: Dtype,
    op: Op,
    types: &[Type],
    n: usize,
) -> (Vec<Vec<Scalar>>, Vec<f64>) {
    let round = |s: Scalar| match (s, dtype) {
        (Scalar::Real(x), Dtype::F32) => Scalar::Real(f64::from(x as f32)),
        _ => s,
    };
    let tuples: Vec<Vec<Scalar>> = (0..n)
        .map(|i| tuple(op, types, i).into_iter().map(round).collect())
        .collect();
    let column = |k: usize| -> Vec<Scalar> { tuples.iter().map(|t: &Vec<Scalar>| t[k]).collect() };
    let real = |s: &Scalar| match s {
        Scalar::Real(x) => *x,
        _ => unreachable!(),
    };
    let mut f32s = vec![];
    let mut f64s = vec![];
    let mut i64s = vec![];
    let mut bools = vec![];
    for (k, ty) in types.iter().enumerate() {
        let c = column(k);
        let (mut a, mut b, mut d, mut e) = (vec![], vec![], vec![], vec![]);
        for s in &c {
            match (ty, s) {
                (Type::Real, s) => {
                    a.push(real(s) as f32);
                    b.push(real(s));
                }
                (Type::Int, Scalar::Int(n)) => d.push(*n),
                (_, Scalar::Bool(x)) => e.push(*x),
                _ => unreachable!(),
            }
        }
        f32s.push(a);
        f64s.push(b);
        i64s.push(d);
        bools.push(e);
    }
    let shape = [n];
    let names = ["a", "b", "c"];
    let inputs: Vec<Input> = types
        .iter()
        .enumerate()
        .map(|(k, ty)| Input {
            name: names[k],
            data: match (ty, dtype) {
                (Type::Real, Dtype::F32) => Data::F32(&f32s[k]),
                (Type::Real, Dtype::F64) => Data::F64(&f64s[k]),
                (Type::Int, _) => Data::I64(&i64s[k]),
                (Type::Bool, _) => Data::Bool(&bools[k]),
            },
            shape: &shape,
        })
        .collect();
    let (mut g32, mut g64) = (vec![0f32; n], vec![0f64; n]);
    let data = match dtype {
        Dtype::F32 => DataMut::F32(&mut g32),
        Dtype::F64 => DataMut::F64(&mut g64),
    };
    let mut out = [Gradient { name: "a", data }];
    kernel.value_and_grad(&inputs, &[], &mut out).unwrap();
    let got = match dtype {
        Dtype::F32 => g32.iter().map(|&x| f64::from(x)).collect(),
        Dtype::F64 => g64,
    };
    (tuples, got)
}

/// Whether a result is the expected one, to the rounding of the dtype.
fn agrees(dtype: Dtype, got: f64, want: f64) -> bool {
    if got.is_nan() || want.is_nan() {
        return got.is_nan() && want.is_nan();
    }
    if got == want {
        return true;
    }
    match dtype {
        Dtype::F32 => {
            let w = want as f32;
            if w.is_infinite() || got.is_infinite() {
                // The largest numbers may round either way.
                return got as f32 == w || got.abs().min(want.abs()) > 3.3e38;
            }
            (got - want).abs() <= 4e-7 * want.abs() + 1e-44
        }
        Dtype::F64 => want.is_finite() && (got - want).abs() <= 1e-14 * want.abs() + 1e-320,
    }
}

#[test]
fn every_operator_agrees_with_the_interpreter() {
    for &op in Op::ALL {
        for types in operands(op) {
            for dtype in [Dtype::F32, Dtype::F64] {
                for lanes in [true, false] {
                    let (loops, result) = program(op, &types, lanes);
                    let many = Kernel::with_value(loops.clone(), None, dtype, true).unwrap();
                    let kernel = Kernel::new(loops, None, dtype).unwrap();
                    for n in SIZES {
                        let (tuples, got) = run(&kernel, dtype, op, &types, n);
                        let (_, same) = run(&many, dtype, op, &types, n);
                        let same = got
                            .iter()
                            .zip(same)
                            .all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan());
                        assert!(
                            same,
                            "{op:?} {dtype:?} lanes={lanes} n={n}: other bits for many"
                        );
                        for (t, g) in tuples.iter().zip(got) {
                            let want = expected(op, t, result);
                            assert!(
                                agrees(dtype, g, want),
                                "{op:?}{t:?} {dtype:?} lanes={lanes} n={n}: {g:e}, not {want:e}"
                            );
                        }
                    }
                }
            }
        }
    }
}
