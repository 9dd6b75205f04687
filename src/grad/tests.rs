//! Gradients of programs made by hand: what needs no text.

use super::differentiate;
use crate::ir::{Program, by_hand, print};
use crate::rewrite::simplify::simplify;

fn derived(mut p: Program) -> String {
    differentiate(&mut p);
    let outputs = p.outputs();
    simplify(&mut p, &outputs);
    print::gradient_text(&p)
}

#[test]
fn mse_reads_as_by_hand() {
    assert_eq!(
        derived(by_hand::mse()),
        "loss mse(yhat | y) =\n  mean((y - yhat)^2)\n  gradient yhat = -2 * (y - yhat) / size(*)\n"
    );
}

#[test]
fn cross_entropy_scatters() {
    insta::assert_snapshot!(derived(by_hand::cross_entropy()), @r"
    loss cross_entropy(logits: [N, C] | target: int[N]; ignore_index: int = -100) =
      mean[N if target != ignore_index](lse - logits[N, target])
      gradient logits[N, C] =
          (if lse != -inf and target != ignore_index then exp(logits - lse) / members else 0)
          - (if target == C and target != ignore_index then 1 / members else 0)
      where
        lse     = logsumexp[C](logits)
        members = count[N](target != ignore_index)
    ");
}
