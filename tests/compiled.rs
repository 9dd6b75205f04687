//! Specs as kernels: value and gradient of the machine code against the definitions, on random small shapes with empty
//! axes among them, in f64 and f32.

use losscc::array::Data as Values;
use losscc::codegen::groups::short_extents;
use losscc::codegen::{Dtype, Refusal};
use losscc::interp::{Bound, evaluate};
use losscc::ir::Program;
use losscc::kernel::{Data, DataMut, Gradient, Input, Kernel};
use losscc::loops::{Loops, Wanted, schedule};

mod draw;

const SEEDS: u64 = 20;

fn close(got: &[f64], want: &[f64], tolerance: f64) -> bool {
    let scale = want
        .iter()
        .filter(|x| x.is_finite())
        .map(|x| x.abs())
        .fold(1.0, f64::max);
    got.len() == want.len()
        && got
            .iter()
            .zip(want)
            .all(|(x, y)| x == y || x.is_nan() && y.is_nan() || (x - y).abs() <= tolerance * scale)
}

/// Calls a kernel with the data of `bound`; the value, then the gradients.
fn call(
    kernel: &Kernel,
    program: &Program,
    bound: &Bound,
    grads: &[(String, usize)],
) -> Result<Vec<Vec<f64>>, String> {
    let narrow: Vec<Vec<f32>> = bound
        .inputs
        .iter()
        .map(|a| a.reals().unwrap_or(&[]).iter().map(|&x| x as f32).collect())
        .collect();
    let mut inputs = vec![];
    for ((&t, array), narrow) in program.inputs.iter().zip(&bound.inputs).zip(&narrow) {
        let data = match (&array.data, kernel.dtype()) {
            (Values::Real(_), Dtype::F32) => Data::F32(narrow),
            (Values::Real(v), Dtype::F64) => Data::F64(v),
            (Values::Int(v), _) => Data::I64(v),
            (Values::Bool(v), _) => Data::Bool(v),
        };
        inputs.push(Input {
            name: &program.get(t).name,
            data,
            shape: &array.shape,
        });
    }
    let params: Vec<(&str, f64)> = program
        .params
        .iter()
        .zip(&bound.params)
        .map(|(p, v)| (&*p.name, v.real()))
        .collect();
    let mut f32s: Vec<Vec<f32>> = grads.iter().map(|g| vec![7.0; g.1]).collect();
    let mut f64s: Vec<Vec<f64>> = grads.iter().map(|g| vec![7.0; g.1]).collect();
    let mut out = vec![];
    for (((name, _), a), b) in grads.iter().zip(&mut f32s).zip(&mut f64s) {
        let data = match kernel.dtype() {
            Dtype::F32 => DataMut::F32(a),
            Dtype::F64 => DataMut::F64(b),
        };
        out.push(Gradient { name, data });
    }
    let value = kernel
        .value_and_grad(&inputs, &params, &mut out)
        .map_err(|d| d.title)?;
    let again = kernel.value(&inputs, &params).map_err(|d| d.title)?;
    assert!(
        again.to_bits() == value.to_bits() || again.is_nan() && value.is_nan(),
        "the value alone is {again}, with gradients {value}"
    );
    let mut all = vec![vec![value]];
    for (a, b) in f32s.into_iter().zip(f64s) {
        all.push(match kernel.dtype() {
            Dtype::F32 => a.into_iter().map(f64::from).collect(),
            Dtype::F64 => b,
        });
    }
    Ok(all)
}

fn kernel(loops: &Loops, value: &Loops, dtype: Dtype) -> Result<Kernel, Refusal> {
    Kernel::new(loops.clone(), Some(value.clone()), dtype)
}

/// Compares, or says why there is no kernel.
fn checked(name: &str, program: &Program) -> Result<usize, String> {
    let gradients: Vec<_> = program.gradients.iter().map(|g| g.input).collect();
    let all = Wanted {
        value: true,
        gradients,
    };
    let loops = schedule(program, &all).map_err(|d| format!("no schedule: {}", d.title))?;
    let only = Wanted {
        value: true,
        gradients: vec![],
    };
    let value = schedule(program, &only).map_err(|d| format!("no schedule: {}", d.title))?;
    let kernels = [Dtype::F64, Dtype::F32].map(|d| kernel(&loops, &value, d));
    let [wide, narrow] = kernels;
    let (wide, narrow) = match (wide, narrow) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(Refusal::NotYet(what)), _) | (_, Err(Refusal::NotYet(what))) => {
            return Err(format!("not compiled: {what}"));
        }
        (Err(e), _) | (_, Err(e)) => panic!("{name}: {e:?}"),
    };
    let mut compared = 0;
    let mut draws: Vec<(u64, Option<usize>)> = (0..SEEDS).map(|seed| (seed, None)).collect();
    if loops
        .stages
        .iter()
        .any(|s| short_extents(&loops, s).is_some())
    {
        // Many short rows.
        let long = 0..program.extents.len().min(3);
        draws.extend(long.map(|k| (1, Some(k))));
    }
    for (seed, long) in draws {
        let mut rng = fastrand::Rng::with_seed(seed);
        let Some(bound) = draw::draw(program, 23, long, &mut rng) else {
            continue;
        };
        let outputs = program.outputs();
        let Ok(want) = evaluate(program, &bound, &outputs) else {
            continue;
        };
        let mut grads = vec![];
        for g in &program.gradients {
            let t = program.get(g.input);
            let extent = |&a: &_| bound.extents[program.extent_of(a).index()];
            let n: usize = t.head.iter().map(extent).product();
            grads.push((t.name.to_string(), n));
        }
        for (kernel, tolerance) in [(&wide, 1e-9), (&narrow, 2e-4)] {
            let got = call(kernel, program, &bound, &grads);
            let got = got.unwrap_or_else(|e| panic!("{name}, seed {seed}: {e}"));
            let mut k = 0;
            for (i, g) in got.iter().enumerate() {
                let zero;
                let want: &[f64] = if i > 0 && program.gradients[i - 1].tensor.is_none() {
                    zero = vec![0.0; g.len()];
                    &zero
                } else {
                    k += 1;
                    want[k - 1].reals().unwrap_or(&[])
                };
                assert!(
                    close(g, want, tolerance),
                    "{name}, seed {seed}, {:?}, output {i}:\n{g:?}\n{want:?}\n{:?}\n{}",
                    kernel.dtype(),
                    bound.inputs,
                    losscc::loops::print::print(kernel.loops()),
                );
            }
            compared += 1;
        }
    }
    Ok(compared)
}

/// Checks each of them; what compiles must agree. Gives how many compiled, and a line about each.
fn report(all: &[(String, String)]) -> (usize, String) {
    let only = std::env::var("ONLY").ok();
    let (mut report, mut wrong, mut compiled) = (String::new(), String::new(), 0);
    for (name, text) in all {
        if only.as_ref().is_some_and(|o| o != name) {
            continue;
        }
        let result = std::panic::catch_unwind(|| checked(name, &draw::program(name, text)));
        match result {
            Ok(Ok(n)) => {
                compiled += 1;
                report += &format!("{name}: compiled, {n} comparisons\n");
            }
            Ok(Err(why)) => report += &format!("{name}: {why}\n"),
            Err(e) => {
                let text = e.downcast_ref::<String>().cloned().unwrap_or_default();
                wrong += &format!("{name}: {}\n", text.chars().take(600).collect::<String>());
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    (compiled, report)
}

/// All shipped specs; `ONLY=name` for one.
#[test]
fn specs_agree_with_their_definitions() {
    let all: Vec<_> = losscc::shipped::all()
        .iter()
        .map(|(name, text)| (name.to_string(), text.to_string()))
        .collect();
    let (compiled, report) = report(&all);
    println!("{report}");
    assert!(
        std::env::var("ONLY").is_ok() || compiled >= 66,
        "only {compiled} specs compile:\n{report}"
    );
}

/// The programs that are no catalogue loss.
#[test]
fn programs_agree_with_their_definitions() {
    let mut all = vec![];
    for entry in std::fs::read_dir("tests/programs").expect("the folder of programs") {
        let path = entry.expect("a program").path();
        let name = path
            .file_stem()
            .and_then(|s| s.to_str())
            .unwrap_or_default();
        let text = std::fs::read_to_string(&path).expect("a text");
        all.push((name.to_string(), text));
    }
    all.sort();
    let (compiled, report) = report(&all);
    println!("{report}");
    assert!(
        std::env::var("ONLY").is_ok() || compiled >= 70,
        "only {compiled} programs compile:\n{report}"
    );
}

/// A row has the same bits in a group of short rows, among what is left of them, and in another place of either.
#[test]
fn short_rows_have_the_same_bits_in_groups_and_alone() {
    let text = "loss f(x: [N, C], y: [N, C], k: int[N]) = \
                sum[N](s) where s = logsumexp[C](x) + sum[C](x * y) - x[N, k] * max[C](y)";
    let program = draw::program("f", text);
    let gradients = program.gradients.iter().map(|g| g.input).collect();
    let wanted = Wanted {
        value: true,
        gradients,
    };
    let loops = schedule(&program, &wanted).expect("a schedule");
    assert!(
        loops
            .stages
            .iter()
            .any(|s| short_extents(&loops, s).is_some())
    );
    for dtype in [Dtype::F32, Dtype::F64] {
        let kernel = Kernel::new(loops.clone(), None, dtype).expect("a kernel");
        for c in [1, 2, 3, 7, 8, 9, 15, 16, 17, 24, 25] {
            let mut rng = fastrand::Rng::with_seed(c as u64);
            // Rows 5 apart are the same, and 5 divides no group.
            let mut pattern = || -> Vec<f64> {
                (0..5 * c)
                    .map(|_| f64::from(rng.f32() * 8.0 - 4.0))
                    .collect()
            };
            let (x, y) = (pattern(), pattern());
            let gradient = |rows: usize| {
                let [x, y] = [&x, &y]
                    .map(|p| -> Vec<f64> { p.iter().copied().cycle().take(rows * c).collect() });
                let k: Vec<i64> = (0..rows).map(|n| (n % 5 % c) as i64).collect();
                let narrow = [&x, &y].map(|v| v.iter().map(|&x| x as f32).collect::<Vec<f32>>());
                let mut out = [vec![0.0; rows * c], vec![0.0; rows * c]];
                let mut small = [vec![0f32; rows * c], vec![0f32; rows * c]];
                let shape = [rows, c];
                let real = |name, k: usize, wide| Input {
                    name,
                    data: match dtype {
                        Dtype::F32 => Data::F32(&narrow[k]),
                        Dtype::F64 => Data::F64(wide),
                    },
                    shape: &shape,
                };
                let inputs = [
                    real("x", 0, &x),
                    real("y", 1, &y),
                    Input {
                        name: "k",
                        data: Data::I64(&k),
                        shape: &shape[..1],
                    },
                ];
                let names = ["x", "y"];
                let mut places = vec![];
                for ((name, wide), narrow) in names.into_iter().zip(&mut out).zip(&mut small) {
                    let data = match dtype {
                        Dtype::F32 => DataMut::F32(narrow),
                        Dtype::F64 => DataMut::F64(wide),
                    };
                    places.push(Gradient { name, data });
                }
                kernel
                    .value_and_grad(&inputs, &[], &mut places)
                    .expect("it runs");
                match dtype {
                    Dtype::F32 => small.map(|g| g.into_iter().map(f64::from).collect::<Vec<f64>>()),
                    Dtype::F64 => out,
                }
            };
            let (few, many) = (gradient(5), gradient(128 + 7));
            for (few, many) in few.iter().zip(&many) {
                let same = many
                    .iter()
                    .enumerate()
                    .all(|(at, g)| g.to_bits() == few[at % (5 * c)].to_bits());
                assert!(same, "{dtype:?}, rows of {c}");
            }
        }
    }
}
