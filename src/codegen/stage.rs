//! One stage as a function: blocks, statements, loops.

use super::checks::{Fact, Known};
use super::constants::Constants;
use super::folds::Accumulator;
use super::groups::Rows;
use super::homes::Homes;
use super::lanes::Lanes;
use super::layout::Layout;
use super::math::{Logistic, Width};
use super::value::Val;
use super::waiting::waits;
use super::weight::reload_after;
use super::{Check, Dtype, Refusal, Variant, groups};
use crate::ir::{Op, Type};
use crate::loops::{
    Direction, Expr, ExtentIndex, FoldId, Index, LoopAxisId, Loops, Stage, Stmt, ValueId,
};
use cranelift::frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, Block, BlockArg, Function, InstBuilder, MemFlagsData, Signature, Value, types,
};
use cranelift_codegen::isa::TargetIsa;
use rustc_hash::FxHashMap;

pub(super) type Result<T> = std::result::Result<T, Refusal>;

/// What the stages of one kernel have in common.
#[derive(Clone, Copy)]
pub(super) struct Unit<'u> {
    pub loops: &'u Loops,
    pub dtype: Dtype,
    pub isa: &'u dyn TargetIsa,
    pub layout: &'u Layout,
}

/// What runs over an axis at the moment.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// A loop with one value at a time.
    One(Value),
    /// The lane loop.
    Lanes,
}

/// Code generation of one stage.
pub(super) struct Gen<'u, 'f> {
    pub(super) b: FunctionBuilder<'f>,
    pub(super) unit: Unit<'u>,
    pub(super) constants: Constants,
    /// The vectors that reals are in: of the dtype, in a `Once` stage of f64.
    pub(super) width: Width,
    /// How many vectors are in flight: 1 outside of lane loops.
    pub(super) copies: usize,
    /// After this many instructions for each vector in flight a load is repeated.
    pub(super) reload: usize,
    pub(super) values: Vec<Option<Val>>,
    /// Lets of a lane loop that wait for their first use, so that a vector is not held in a register before it, and about
    /// how many registers it takes to make them.
    pub(super) waiting: FxHashMap<ValueId, (&'u Expr, usize)>,
    /// Loads of a lane loop that may be repeated, and how many instructions there were when they were made last.
    pub(super) loaded: FxHashMap<ValueId, (&'u Expr, usize)>,
    /// How each value so far is made, for patterns that have better code than their parts.
    pub(super) made: FxHashMap<ValueId, &'u Expr>,
    /// What sigmoids and softplus of the lane loop's body share, by their argument without its sign, and whether that
    /// differs between lanes.
    pub(super) logistic: FxHashMap<ValueId, (Logistic, bool)>,
    pub(super) folds: FxHashMap<FoldId, Accumulator>,
    /// The open loops, outermost first.
    pub(super) places: Vec<(LoopAxisId, Place)>,
    pub(super) lane_loop: Option<Lanes>,
    pub(super) variant: Variant,
    /// Whether short rows go in groups.
    groups: bool,
    /// The address of the cells.
    pub(super) context: Value,
    /// The axis that the stage runs over in chunks, and the chunk.
    chunk: Option<(LoopAxisId, Value, Value)>,
    pub checks: &'u mut Vec<Check>,
    /// For the places of the open loops (none for the lanes), where a failed check goes.
    pub failures: Vec<(Vec<Option<Value>>, Block)>,
    /// What was computed before on the way to here.
    pub(super) known: Known,
    pub(super) homes: Homes,
}

impl<'u, 'f> Gen<'u, 'f> {
    // ---- statements

    pub(super) fn block(&mut self, block: &'u [Stmt]) -> Result<()> {
        block.iter().try_for_each(|stmt| self.statement(stmt))
    }

    fn statement(&mut self, stmt: &'u Stmt) -> Result<()> {
        match stmt {
            Stmt::Let(id, expr)
                if self.lane_loop.is_some() && (waits(expr) || self.reloads(expr).is_some()) =>
            {
                self.made.insert(*id, expr);
                self.waiting.insert(*id, (expr, self.registers_of(expr)));
                Ok(())
            }
            Stmt::Let(id, expr) => {
                self.made.insert(*id, expr);
                self.make(*id, expr)?;
                if let (None, Some(val)) = (&self.lane_loop, self.values[id.0 as usize]) {
                    self.settle(*id, val);
                }
                Ok(())
            }
            Stmt::Loop {
                axis,
                direction,
                lanes,
                folds,
                body,
            } => {
                if *lanes && !self.in_group() {
                    self.lanes(*axis, folds, body)
                } else {
                    self.counted(*axis, *direction, folds, body)
                }
            }
            Stmt::Fold { id, value, guard } => self.fold(*id, *value, *guard),
            Stmt::Store {
                to,
                at,
                how,
                value,
                guard,
            } => self.store(*to, at, *how, *value, *guard),
            Stmt::Fill { to, at, with } => self.fill(*to, at, *with),
            Stmt::Sort(sort) => self.sort(sort),
            Stmt::Gemm(gemm) => self.gemm(gemm),
        }
    }

    pub(super) fn make(&mut self, id: ValueId, expr: &Expr) -> Result<()> {
        let val = self.expr(id, expr)?;
        let place = self.values.get_mut(id.0 as usize);
        *place.ok_or_else(|| bug("a Let of an unknown value"))? = Some(val);
        Ok(())
    }

    /// A block that runs several times: what waits is made before it, and what waits in it when it
    /// ends is never used.
    fn inner(&mut self, block: &'u [Stmt]) -> Result<()> {
        let top = self
            .lane_loop
            .as_mut()
            .map(|l| std::mem::replace(&mut l.top, false));
        let known = self.known.enter();
        let loaded = self.loaded.clone();
        self.homes.next_stretch();
        self.block(block)?;
        self.homes.next_stretch();
        self.known.leave(known);
        // What was loaded again in the block is not there after it.
        self.waiting = loaded
            .iter()
            .map(|(&id, &(expr, _))| (id, (expr, self.registers_of(expr))))
            .collect();
        self.loaded = loaded;
        if let (Some(lanes), Some(top)) = (&mut self.lane_loop, top) {
            lanes.top = top;
        }
        Ok(())
    }

    /// A loop of one element at a time.
    fn counted(
        &mut self,
        axis: LoopAxisId,
        direction: Direction,
        folds: &'u [FoldId],
        body: &'u [Stmt],
    ) -> Result<()> {
        self.make_waiting()?;
        let (low, high) = self.range(axis);
        let index = self.b.declare_var(types::I64);
        let first = match direction {
            Direction::Up => low,
            Direction::Down => high,
        };
        self.b.def_var(index, first);
        for &f in folds {
            self.declare_fold(f)?;
        }
        let [head, inside, after] = [0; 3].map(|_| self.b.create_block());
        self.b.ins().jump(head, &[]);
        self.b.switch_to_block(head);
        let at = self.b.use_var(index);
        let (cc, last) = match direction {
            Direction::Up => (IntCC::SignedLessThan, high),
            Direction::Down => (IntCC::SignedGreaterThan, low),
        };
        let more = self.b.ins().icmp(cc, at, last);
        self.b.ins().brif(more, inside, &[], after, &[]);
        self.enter(inside);
        if self.groups && self.places.is_empty() && self.chunk.is_some_and(|(a, ..)| a == axis) {
            self.group(&Rows {
                axis,
                index,
                at,
                end: high,
                head,
                folds,
                body,
            })?;
        }
        let at = match direction {
            Direction::Up => at,
            Direction::Down => self.b.ins().iadd_imm_s(at, -1),
        };
        self.places.push((axis, Place::One(at)));
        self.inner(body)?;
        for &f in folds {
            self.count_fold(f)?;
        }
        self.places.pop();
        let next = match direction {
            Direction::Up => self.b.ins().iadd_imm_s(at, 1),
            Direction::Down => at,
        };
        self.b.def_var(index, next);
        self.b.ins().jump(head, &[]);
        self.b.seal_block(head);
        self.enter(after);
        folds.iter().try_for_each(|&f| self.finish_fold(f))
    }

    /// First and one past the last value of an axis: those of the chunk for the axis the stage runs over.
    pub(super) fn range(&mut self, axis: LoopAxisId) -> (Value, Value) {
        let open = self.places.iter().any(|(a, _)| *a == axis);
        match self.chunk {
            Some((rows, begin, end)) if rows == axis && !open => (begin, end),
            _ => {
                let low = self.b.ins().iconst(types::I64, 0);
                let extent = self.unit.loops.axes[axis.0 as usize].extent;
                (low, self.extent(extent))
            }
        }
    }

    // ---- expressions

    fn expr(&mut self, id: ValueId, expr: &Expr) -> Result<Val> {
        let info = self
            .unit
            .loops
            .values
            .get(id.0 as usize)
            .ok_or_else(|| bug("a Let of an unknown value"))?;
        match expr {
            Expr::Real(x) => Ok(self.real_const(*x)),
            Expr::Int(n) => Ok(Val::Int(self.b.ins().iconst(types::I64, *n))),
            Expr::Bool(x) => Ok(Val::Flag(self.b.ins().iconst(types::I8, i64::from(*x)))),
            Expr::Param(p) => self.param(*p),
            Expr::Size(e) => Ok(Val::Int(self.extent(*e))),
            Expr::Axis(a) => self.axis_value(*a),
            Expr::Load {
                from,
                at,
                when,
                or,
                checked,
            } => self.load(super::access::Read {
                from: *from,
                at,
                when: *when,
                or: *or,
                checked: *checked,
                span: info.span,
            }),
            Expr::Op(op, operands) => self.op(*op, operands, info.ty),
            Expr::Divide { op, a, b, when } => self.divide(*op, *a, *b, *when, info.span),
            Expr::Select(c, a, b) => self.select(*c, *a, *b, info.ty),
            Expr::Finite(x) => self.finite(*x),
            Expr::Found { index, when } => self.found(*index, *when, info.span),
            Expr::Folded(f) => self.folded(*f),
        }
    }

    fn param(&mut self, index: u32) -> Result<Val> {
        let ty = self
            .unit
            .loops
            .params
            .get(index as usize)
            .ok_or_else(|| bug("an unknown hyperparameter"))?
            .ty;
        let cell = self.unit.layout.param(index);
        match ty {
            Type::Int => Ok(Val::Int(self.cell(cell))),
            Type::Real => {
                let offset = 8 * cell as i32;
                let x = self
                    .b
                    .ins()
                    .load(types::F64, memory(), self.context, offset);
                self.splat(x)
            }
            Type::Bool => {
                let x = self.cell(cell);
                Ok(Val::Flag(self.b.ins().icmp_imm_s(IntCC::NotEqual, x, 0)))
            }
        }
    }

    pub(super) fn place(&self, axis: LoopAxisId) -> Result<Place> {
        self.places
            .iter()
            .rev()
            .find(|(a, _)| *a == axis)
            .map(|(_, p)| *p)
            .ok_or_else(|| bug("an axis that no loop runs over"))
    }

    fn axis_value(&mut self, axis: LoopAxisId) -> Result<Val> {
        match self.place(axis)? {
            Place::One(v) => Ok(Val::Int(v)),
            Place::Lanes => self.lane_indices(),
        }
    }

    // ---- blocks and cells

    pub(super) fn enter(&mut self, block: Block) {
        self.b.switch_to_block(block);
        self.b.seal_block(block);
    }

    /// What a cell of the context holds: loaded where it is needed, once in a lane loop's body.
    pub(super) fn cell(&mut self, cell: usize) -> Value {
        let in_lanes = self.lane_loop.is_some();
        if in_lanes && let Some(v) = self.known.get(Fact::Cell(cell)) {
            return v;
        }
        let offset = 8 * cell as i32;
        let v = self
            .b
            .ins()
            .load(types::I64, memory(), self.context, offset);
        if in_lanes {
            self.known.add(Fact::Cell(cell), v);
        }
        v
    }

    /// The address of a cell of the context.
    pub(super) fn cell_address(&mut self, cell: usize) -> Value {
        self.b.ins().iadd_imm_s(self.context, 8 * cell as i64)
    }

    pub(super) fn extent(&mut self, extent: ExtentIndex) -> Value {
        self.cell(self.unit.layout.extent(extent))
    }

    pub(super) fn variable(&mut self, initial: Value) -> Variable {
        let ty = self.b.func.dfg.value_type(initial);
        let variable = self.b.declare_var(ty);
        self.b.def_var(variable, initial);
        variable
    }
}

/// Loops that make no sense: the scheduler's mistake or ours.
pub(super) fn bug(what: &str) -> Refusal {
    Refusal::Bug(format!("code generation: {what}"))
}

/// Builds the function of a stage.
pub(super) fn build<'u>(
    unit: Unit<'u>,
    stage: &'u Stage,
    func: &mut Function,
    frontend: &mut FunctionBuilderContext,
    checks: &'u mut Vec<Check>,
    variant: Variant,
) -> Result<()> {
    func.signature = signature(unit.isa);
    let mut b = FunctionBuilder::new(func, frontend);
    let start = b.create_block();
    b.append_block_params_for_function_params(start);
    b.switch_to_block(start);
    b.seal_block(start);
    let [context, begin, end] = *b.block_params(start) else {
        return Err(bug("the function has three parameters"));
    };
    let (body, chunk) = match stage {
        Stage::Rows { axis, body, .. } => (body, Some((*axis, begin, end))),
        Stage::Once(body) => (body, None),
    };
    let width = match unit.dtype {
        Dtype::F32 if chunk.is_some() && !unit.loops.wide => Width::F32X4,
        Dtype::F32 | Dtype::F64 => Width::F64X2,
    };
    let mut g = Gen {
        b,
        constants: Constants::new(unit.isa),
        width,
        copies: 1,
        reload: reload_after(0),
        values: vec![None; unit.loops.values.len()],
        waiting: FxHashMap::default(),
        loaded: FxHashMap::default(),
        made: FxHashMap::default(),
        logistic: FxHashMap::default(),
        folds: FxHashMap::default(),
        places: vec![],
        lane_loop: None,
        variant,
        groups: variant == Variant::Groups && groups::short_extents(unit.loops, stage).is_some(),
        context,
        chunk,
        checks,
        failures: vec![],
        known: Known::default(),
        homes: Homes::new(body),
        unit,
    };
    g.block(body)?;
    let zero = g.b.ins().iconst(types::I64, 0);
    g.b.ins().return_(&[zero]);
    g.report_failures();
    // Calls of the vector library make blocks of their own.
    g.b.seal_all_blocks();
    g.b.finalize(unit.isa.frontend_config());
    Ok(())
}

/// `(context, begin, end) -> status`.
pub(crate) fn signature(isa: &dyn TargetIsa) -> Signature {
    let mut signature = Signature::new(isa.default_call_conv());
    for _ in 0..3 {
        signature.params.push(AbiParam::new(types::I64));
    }
    signature.returns.push(AbiParam::new(types::I64));
    signature
}

pub(super) fn memory() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

/// Whether an operand list fits an operator, so that code generation may index it: loops have lists of two, no longer ones.
pub(super) fn arity(op: Op, operands: &[ValueId]) -> Result<()> {
    if operands.len() == op.arity().unwrap_or(2) {
        return Ok(());
    }
    Err(bug(&format!(
        "`{}` has {} operands",
        op.name(),
        operands.len()
    )))
}

/// The axes that an index list runs over.
pub(super) fn uses_axis(at: &[Index], axis: LoopAxisId) -> bool {
    at.iter().any(|i| match i {
        Index::Axis(a) | Index::Shift(a, _) => *a == axis,
        Index::Const(_) | Index::Value(_) => false,
    })
}

/// An argument of a jump.
pub(super) fn arg(v: Value) -> BlockArg {
    BlockArg::Value(v)
}
