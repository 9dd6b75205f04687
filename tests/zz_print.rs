mod build;
use build::*;
use losscc::codegen::*;
#[test]
fn show() {
    let isa = isa::named("x86_64-unknown-linux-gnu").unwrap();
    println!("{}", clif(&mse(), Dtype::F32, &*isa).unwrap());
    println!("{}", asm(&huber(), Dtype::F32, &*isa).unwrap());
}
