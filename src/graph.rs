//! Strongly connected components: what depends on itself is one group.

/// The strongly connected components that are reachable from `roots`, each after everything that it has edges to
/// (Tarjan's algorithm, with an explicit stack so that long chains are no problem). Members are in ascending order.
pub fn components(edges: &[Vec<usize>], roots: &[usize]) -> Vec<Vec<usize>> {
    const NEW: usize = usize::MAX;
    let mut number = vec![NEW; edges.len()];
    let mut low = vec![0; edges.len()];
    let mut open = vec![false; edges.len()];
    let (mut path, mut out, mut count) = (vec![], vec![], 0);
    for &root in roots {
        if number[root] != NEW {
            continue;
        }
        let mut calls: Vec<(usize, usize)> = vec![(root, 0)];
        while let Some(&(v, next)) = calls.last() {
            if next == 0 {
                number[v] = count;
                low[v] = count;
                count += 1;
                path.push(v);
                open[v] = true;
            }
            if let Some(&w) = edges[v].get(next) {
                if let Some(top) = calls.last_mut() {
                    top.1 += 1;
                }
                if number[w] == NEW {
                    calls.push((w, 0));
                } else if open[w] {
                    low[v] = low[v].min(number[w]);
                }
                continue;
            }
            calls.pop();
            if let Some(&(parent, _)) = calls.last() {
                low[parent] = low[parent].min(low[v]);
            }
            if low[v] == number[v] {
                let mut group = vec![];
                while let Some(w) = path.pop() {
                    open[w] = false;
                    group.push(w);
                    if w == v {
                        break;
                    }
                }
                group.sort_unstable();
                out.push(group);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::components;

    #[test]
    fn groups_come_after_what_they_need() {
        let edges = vec![vec![1], vec![2, 3], vec![1], vec![], vec![3]];
        assert_eq!(components(&edges, &[0]), vec![vec![3], vec![1, 2], vec![0]]);
    }

    #[test]
    fn a_long_chain_is_no_problem() {
        let n = 200_000;
        let edges: Vec<Vec<usize>> = (0..n)
            .map(|i| if i + 1 < n { vec![i + 1] } else { vec![] })
            .collect();
        assert_eq!(components(&edges, &[0]).len(), n);
    }
}
