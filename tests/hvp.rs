//! Products of Hessians with vectors.
//!
//! `tests/hvp.json` holds the references, `scripts/hvp_reference.py` made them.

use losscc::array::{Array, Data};
use losscc::check::Sampler;
use losscc::data::{self, Format};
use losscc::interp::{Bound, Held, Plan, bind};
use losscc::ir::{Program, Type};
use losscc::{Dtype, Loss, Options, Spec, shipped};
use serde_json::Value;

fn loss(name: &str) -> Loss {
    let loss = Spec::open(name).and_then(|s| s.derive());
    loss.unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The gradients of a program, in their order.
fn gradients(program: &Program, bound: &Bound) -> Vec<Vec<f64>> {
    gradients_with(program, bound, &mut Held::Nothing)
}

fn gradients_with(program: &Program, bound: &Bound, held: &mut Held) -> Vec<Vec<f64>> {
    let outputs = program.outputs();
    let computed = Plan::new(program, &outputs).run(bound, held).unwrap();
    let of = |t| {
        let at = outputs.iter().position(|&o| o == t).unwrap();
        computed[at].reals().unwrap().to_vec()
    };
    let gradient = |g: &losscc::ir::Gradient| {
        let at = program.inputs.iter().position(|&i| i == g.input).unwrap();
        let zero = || vec![0.0; bound.inputs[at].len()];
        g.tensor.map_or_else(zero, of)
    };
    program.gradients.iter().map(gradient).collect()
}

fn arrays(value: &Value) -> Vec<(String, Array)> {
    data::read("reference", Format::Json, value.to_string().as_bytes()).unwrap()
}

fn close(want: &[f64], got: &[f64], tolerance: f64, scale: f64) -> bool {
    let near = |(w, g): (&f64, &f64)| (w - g).abs() <= tolerance * scale;
    want.len() == got.len() && want.iter().zip(got).all(near)
}

fn largest<'a>(all: impl IntoIterator<Item = &'a f64>) -> f64 {
    all.into_iter().fold(0.0, |m: f64, x| m.max(x.abs()))
}

#[test]
fn torch_agrees() {
    let text = include_str!("hvp.json");
    let file: Value = serde_json::from_str(text).unwrap();
    let mut compiled = 0;
    for (name, reference) in file.as_object().unwrap() {
        let path = format!("{}/tests/reference/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let cases: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let case = &cases["cases"][0];
        assert_eq!(case["name"], reference["case"]);
        let loss = loss(name);
        let product = loss.hessian_vector(None).unwrap();
        let mut inputs = arrays(&case["inputs"]);
        for (input, v) in arrays(&reference["v"]) {
            inputs.push((loss.vector_name(&input).unwrap(), v));
        }
        let data: Vec<(&str, &Array)> = inputs.iter().map(|(n, a)| (n.as_str(), a)).collect();
        let set = case.get("set").and_then(Value::as_object);
        let set: Vec<(&str, f64)> = set
            .into_iter()
            .flatten()
            .map(|(k, v)| (k.as_str(), v.as_f64().unwrap()))
            .collect();
        let want = arrays(&reference["hvp"]).into_iter().map(|(n, a)| {
            let a = a.convert(Type::Real).unwrap();
            (n, a.reals().unwrap().to_vec())
        });
        let want: Vec<(String, Vec<f64>)> = want.collect();
        let bound = bind(product.program(), &data, &set).unwrap();
        let got = gradients(product.program(), &bound);
        let names: Vec<&str> = product
            .program()
            .gradients
            .iter()
            .map(|g| &*product.program().get(g.input).name)
            .collect();
        for (input, want) in &want {
            let k = names.iter().position(|n| n == input).unwrap();
            // Where the products of other inputs are large, so is the rounding of this one.
            let scale = largest(want).max(1e-3 * largest(got.iter().flatten()));
            assert!(
                close(want, &got[k], 1e-9, scale),
                "{name}: {input} {:?}, not {want:?}",
                got[k]
            );
        }
        for (dtype, tolerance) in [(Dtype::F64, 1e-9), (Dtype::F32, 1e-4)] {
            let options = Options {
                dtype,
                ..Options::default()
            };
            let Ok(kernel) = product.compile(&options) else {
                continue;
            };
            let answer = kernel.evaluate(&data, &set).unwrap();
            compiled += 1;
            for (input, want) in &want {
                let g = answer.gradients.iter().find(|g| g.name == *input).unwrap();
                let scale = largest(want)
                    .max(1e-3 * largest(got.iter().flatten()))
                    .max(1e-30);
                let fits = close(want, &g.values, tolerance, scale);
                assert!(
                    fits,
                    "{name}, {}: {input} {:?}, not {want:?}",
                    dtype.name(),
                    g.values
                );
            }
        }
    }
    assert!(compiled >= 100, "{compiled}");
}

/// Where inputs lie apart from kinks, the product is how the gradient changes along the vector.
#[test]
fn differences_of_gradients_agree() {
    let mut compared = 0;
    for (name, _) in shipped::all() {
        let loss = loss(name);
        let product = loss.hessian_vector(None).unwrap();
        let p = product.program();
        let at = Sampler::new(loss.program(), 11).draw().unwrap();
        let mut rng = fastrand::Rng::with_seed(3);
        let mut bound = at.clone();
        let mut vectors = vec![];
        for &input in &p.inputs[at.inputs.len()..] {
            let of = p.gradients[vectors.len()].input;
            let of = p.inputs.iter().position(|&i| i == of).unwrap();
            let v = at.inputs[of]
                .reals()
                .unwrap()
                .iter()
                .map(|_| rng.f64() - 0.5);
            let v = Array::real(&at.inputs[of].shape, v.collect());
            assert_eq!(p.get(input).head.len(), v.shape.len());
            vectors.push((of, v.clone()));
            bound.shapes.push(at.shapes[of].clone());
            bound.inputs.push(v);
        }
        let got = gradients(p, &bound);
        // What stands under `stop_gradient` does not move.
        let mut held = Held::Keep(Default::default());
        gradients_with(loss.program(), &at, &mut held);
        let mut held = held.used();
        let mut along = |step: f64| {
            let mut moved = at.clone();
            for (of, v) in &vectors {
                if let Data::Real(x) = &mut moved.inputs[*of].data {
                    x.iter_mut()
                        .zip(v.reals().unwrap())
                        .for_each(|(x, v)| *x += step * v);
                }
            }
            gradients_with(loss.program(), &moved, &mut held)
        };
        let mut change = |h: f64| -> Vec<Vec<f64>> {
            let (up, down) = (along(h), along(-h));
            let slope = |(u, d): (&Vec<f64>, &Vec<f64>)| {
                u.iter().zip(d).map(|(u, d)| (u - d) / (2.0 * h)).collect()
            };
            up.iter().zip(&down).map(slope).collect()
        };
        let (near, far) = (change(1e-4), change(2e-4));
        let size = largest(gradients(loss.program(), &at).iter().flatten());
        for (k, got) in got.iter().enumerate() {
            for (i, &g) in got.iter().enumerate() {
                let scale = near[k][i].abs().max(far[k][i].abs()).max(size).max(1.0);
                // A kink between the points, or a function that is not smooth enough.
                if (near[k][i] - far[k][i]).abs() > 1e-6 * scale {
                    continue;
                }
                compared += 1;
                let off = (g - near[k][i]).abs();
                assert!(off <= 1e-5 * scale, "{name}: {g}, not {}", near[k][i]);
            }
        }
    }
    assert!(compared > 500, "{compared}");
}

#[test]
fn products_through_everything() {
    // The second derivative of what a definition, a recurrence, a sort and an inner gradient make.
    for (text, x, v, want) in [
        (
            "loss l(x: [N]) = prod(x)",
            vec![1.0, 2.0, 3.0],
            vec![1.0, 0.0, 0.0],
            vec![0.0, 3.0, 2.0],
        ),
        (
            "loss l(x: [N]) = r[size(N) - 1] where r[N] = x * r[N - 1 else 1]",
            vec![1.0, 2.0, 3.0],
            vec![1.0, 0.0, 0.0],
            vec![0.0, 3.0, 2.0],
        ),
        (
            "loss l(x: [N]) = sum[N](s * N) where s[N] = sort[N](x^3)",
            vec![3.0, 1.0, 2.0],
            vec![1.0, 1.0, 1.0],
            vec![36.0, 0.0, 12.0],
        ),
        (
            "loss l(x: [N]) = sum(g^2) where g = grad[x](sum(x^3))",
            vec![1.0, 2.0],
            vec![1.0, -1.0],
            vec![108.0, -432.0],
        ),
        // What the value does not depend on, and what it is linear in.
        (
            "loss l(x: [N]) = sum(3 * x)",
            vec![1.0, 2.0],
            vec![1.0, -1.0],
            vec![0.0, 0.0],
        ),
        (
            "loss l(x: [N]) = sum(stop_gradient(x) * x)",
            vec![1.0, 2.0],
            vec![1.0, 5.0],
            vec![0.0, 0.0],
        ),
    ] {
        let loss = Spec::parse("l", text).and_then(|s| s.derive()).unwrap();
        let product = loss.hessian_vector(None).unwrap();
        let array = |v: &[f64]| Array::real(&[v.len()], v.to_vec());
        let (x, v) = (array(&x), array(&v));
        let bound = bind(product.program(), &[("x", &x), ("v_x", &v)], &[]).unwrap();
        assert_eq!(gradients(product.program(), &bound), [want], "{text}");
    }
}

#[test]
fn vectors_have_names_of_their_own() {
    let text = "loss l(x: [N], v_x: [N] | v_v_x_: [N]) = sum(x^2 * v_x * v_v_x_)";
    let loss = Spec::parse("l", text).and_then(|s| s.derive()).unwrap();
    let names = ["x", "v_x"].map(|n| loss.vector_name(n).unwrap());
    assert_eq!(names, ["v_x__", "v_v_x__"]);
    assert_eq!(loss.vector_name("y"), None);
    let program = loss.hessian_vector(Some(&["v_x".into()])).unwrap();
    let inputs = &program.program().inputs;
    assert_eq!(inputs.len(), 4);
    assert_eq!(&*program.program().get(inputs[3]).name, "v_v_x__");
    let error = loss.hessian_vector(Some(&["z".into()])).err().unwrap();
    assert!(error.to_string().contains("`l` has no input `z`"));
}
