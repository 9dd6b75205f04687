//! A call allocates nothing after the first.

mod build;

use build::shipped;
use losscc::codegen::Dtype;
use losscc::kernel::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting for each thread.
struct Counting;

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends may allocate after its counter is gone.
        let _ = COUNT.try_with(|c| c.set(c.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn calls_allocate_nothing_after_the_first() {
    for name in ["cross_entropy", "dice"] {
        let [full, value] = shipped(name);
        let kernel = Kernel::new(full, Some(value), Dtype::F32).unwrap();
        let (n, c) = (30, 40);
        let x = vec![0.5f32; n * c];
        let target: Vec<i64> = (0..n as i64).collect();
        let shape = [n, c];
        let rows = [n];
        let second = match name {
            "cross_entropy" => Input {
                name: "target",
                data: Data::I64(&target),
                shape: &rows,
            },
            _ => Input {
                name: "target",
                data: Data::F32(&x),
                shape: &shape,
            },
        };
        let inputs = [
            Input {
                name: "logits",
                data: Data::F32(&x),
                shape: &shape,
            },
            second,
        ];
        let mut g = vec![0.0f32; n * c];
        let mut run = || {
            let data = DataMut::F32(&mut g);
            let mut out = [Gradient {
                name: "logits",
                data,
            }];
            kernel.value_and_grad(&inputs, &[], &mut out).unwrap()
                + kernel.value(&inputs, &[]).unwrap()
        };
        let first = run();
        let before = COUNT.get();
        for _ in 0..10 {
            assert_eq!(run(), first);
        }
        assert_eq!(COUNT.get(), before, "{name}");
    }
}

#[test]
fn sorts_allocate_nothing_after_the_first_call() {
    let [full, value] = shipped("wasserstein_1d");
    for dtype in [Dtype::F32, Dtype::F64] {
        let kernel = Kernel::new(full.clone(), Some(value.clone()), dtype).unwrap();
        let n = 1000;
        let x: Vec<f64> = (0..n).map(|k| f64::from(k * 7919 % 1009)).collect();
        let y: Vec<f64> = x.iter().rev().copied().collect();
        let (narrow_x, narrow_y): (Vec<f32>, Vec<f32>) = x
            .iter()
            .zip(&y)
            .map(|(&x, &y)| (x as f32, y as f32))
            .unzip();
        let shape = [x.len()];
        let inputs = match dtype {
            Dtype::F32 => [
                Input::new("u", &narrow_x, &shape),
                Input::new("v", &narrow_y, &shape),
            ],
            Dtype::F64 => [Input::new("u", &x, &shape), Input::new("v", &y, &shape)],
        };
        let (mut narrow, mut wide) = ([[0.0f32; 1000]; 2], [[0.0f64; 1000]; 2]);
        let mut run = || {
            let ([a, b], [c, d]) = (&mut narrow, &mut wide);
            let mut out = match dtype {
                Dtype::F32 => [
                    Gradient::new("u", &mut a[..]),
                    Gradient::new("v", &mut b[..]),
                ],
                Dtype::F64 => [
                    Gradient::new("u", &mut c[..]),
                    Gradient::new("v", &mut d[..]),
                ],
            };
            kernel.value_and_grad(&inputs, &[], &mut out).unwrap()
                + kernel.value(&inputs, &[]).unwrap()
        };
        let first = run();
        let before = COUNT.get();
        for _ in 0..10 {
            assert_eq!(run(), first);
        }
        assert_eq!(COUNT.get(), before, "{dtype:?}");
    }
}

/// The library that multiplies matrices packs the factors in a buffer of its own; nothing else is allocated.
#[test]
fn a_matrix_product_allocates_what_it_packs_and_no_more() {
    let [full, value] = shipped("info_nce");
    let products = |loops: &losscc::loops::Loops| {
        let text = losscc::loops::print::print(loops);
        text.lines()
            .filter(|l| l.trim().starts_with("gemm"))
            .count()
    };
    assert_eq!((products(&full), products(&value)), (3, 1));
    let kernel = Kernel::new(full, Some(value), Dtype::F32).unwrap();
    let (n, d) = (40, 30);
    let x: Vec<f32> = (0..n * d).map(|k| (k * 7919 % 1009) as f32).collect();
    let shape = [n, d];
    let inputs = [
        Input::new("query", &x, &shape),
        Input::new("key", &x, &shape),
    ];
    let (mut a, mut b) = (x.clone(), x.clone());
    let mut run = || {
        let mut out = [Gradient::new("query", &mut a), Gradient::new("key", &mut b)];
        kernel.value_and_grad(&inputs, &[], &mut out).unwrap() + kernel.value(&inputs, &[]).unwrap()
    };
    let first = run();
    let before = COUNT.get();
    for _ in 0..10 {
        assert_eq!(run(), first);
    }
    assert!(COUNT.get() - before <= 10 * 4);
}
