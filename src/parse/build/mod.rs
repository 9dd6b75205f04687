//! From pest's pairs to the syntax tree. Each function builds the production that is quoted above it.

mod expr;
mod signature;

use super::Rule;
use crate::ast::*;
use crate::diagnostic::Diagnostic;
use pest::iterators::{Pair, Pairs};

type Result<T> = std::result::Result<T, Diagnostic>;

/// file = { SOI ~ byte_order_mark? ~ declaration* ~ EOI }
pub(super) fn file(
    mut pairs: Pairs<Rule>,
    id: FileId,
) -> std::result::Result<File, Vec<Diagnostic>> {
    let mut file = File {
        id,
        imports: vec![],
        extents: vec![],
        functions: vec![],
        loss: None,
        examples: vec![],
    };
    let mut builder = Builder { id, errors: vec![] };
    for pair in pairs.next().into_iter().flat_map(Pair::into_inner) {
        if let Err(error) = builder.declaration(pair, &mut file) {
            builder.errors.push(error);
        }
    }
    if builder.errors.is_empty() && is_empty(&file) {
        builder.errors.push(nothing_declared(id));
    }
    if builder.errors.is_empty() {
        Ok(file)
    } else {
        Err(builder.errors)
    }
}

struct Builder {
    id: FileId,
    /// Mistakes that leave the tree whole, as a number out of range.
    errors: Vec<Diagnostic>,
}

/// The children of one pair, read from left to right.
struct Children<'i> {
    pairs: Pairs<'i, Rule>,
    /// The place of the parent.
    span: Span,
}

impl<'i> Children<'i> {
    fn peek(&self) -> Option<Rule> {
        self.pairs.peek().map(|pair| pair.as_rule())
    }

    fn at(&self, rule: Rule) -> bool {
        self.peek() == Some(rule)
    }

    /// The next child, if it is of this rule.
    fn take(&mut self, rule: Rule) -> Option<Pair<'i, Rule>> {
        if self.at(rule) {
            self.pairs.next()
        } else {
            None
        }
    }

    fn any(&mut self) -> Result<Pair<'i, Rule>> {
        self.pairs.next().ok_or_else(|| bug(self.span))
    }

    fn expect(&mut self, rule: Rule) -> Result<Pair<'i, Rule>> {
        self.take(rule).ok_or_else(|| bug(self.span))
    }

    /// The next child of this rule, past marks and keywords that carry no meaning here.
    fn find(&mut self, rule: Rule) -> Option<Pair<'i, Rule>> {
        self.pairs.by_ref().find(|pair| pair.as_rule() == rule)
    }

    fn docs(&mut self) -> Doc {
        let mut lines = vec![];
        while let Some(doc) = self.take(Rule::doc) {
            let line = doc.as_str().trim_start_matches('/').trim_end();
            lines.push(line.strip_prefix(' ').unwrap_or(line).to_owned());
        }
        lines.join("\n")
    }
}

/// The tree and the grammar disagree.
fn bug(span: Span) -> Diagnostic {
    Diagnostic {
        class: crate::diagnostic::Class::Bug,
        ..Diagnostic::error("the parser does not know what to make of this; please report it")
            .at(span, "")
    }
}

impl Builder {
    /// The place of a pair. That of one whose last parts are optional reaches over the spaces before what comes next.
    fn span(&self, pair: &Pair<Rule>) -> Span {
        let span = pair.as_span();
        Span {
            file: self.id,
            start: span.start() as u32,
            end: span.end() as u32,
        }
    }

    fn children<'i>(&self, pair: Pair<'i, Rule>) -> Children<'i> {
        Children {
            span: self.span(&pair),
            pairs: pair.into_inner(),
        }
    }

    fn name(&self, pair: Pair<Rule>) -> Name {
        Name {
            text: pair.as_str().into(),
            span: self.span(&pair),
        }
    }

    /// declaration = _{ import | extent | function | loss | example }
    fn declaration(&mut self, pair: Pair<Rule>, file: &mut File) -> Result<()> {
        match pair.as_rule() {
            Rule::import => self.imports(pair, file)?,
            Rule::extent => file.extents.push(self.extent(pair)?),
            Rule::function => file.functions.push(self.function(pair)?),
            Rule::example => file.examples.push(self.example(pair)?),
            Rule::loss => {
                let loss = self.loss(pair)?;
                if let Some(first) = &file.loss {
                    return Err(second_loss(first, &loss));
                }
                file.loss = Some(loss);
            }
            Rule::EOI => {}
            _ => return Err(bug(self.span(&pair))),
        }
        Ok(())
    }

    /// import = { doc* ~ k_use ~ name ~ (comma ~ name)* ~ comma? }
    fn imports(&mut self, pair: Pair<Rule>, file: &mut File) -> Result<()> {
        let mut children = self.children(pair);
        let doc = children.docs();
        while let Some(name) = children.find(Rule::name) {
            file.imports.push(Import {
                doc: doc.clone(),
                name: self.name(name),
            });
        }
        Ok(())
    }

    /// extent = { doc* ~ k_axis ~ axis ~ equals ~ sum_alone }
    fn extent(&mut self, pair: Pair<Rule>) -> Result<Extent> {
        let mut children = self.children(pair);
        let doc = children.docs();
        let start = self.span(&children.expect(Rule::k_axis)?);
        let axis = self.name(children.expect(Rule::axis)?);
        children.expect(Rule::equals)?;
        let value = self.sum_alone(children.expect(Rule::sum_alone)?)?;
        Ok(Extent {
            doc,
            axis,
            span: start.to(value.span),
            value,
        })
    }

    /// function = { doc* ~ k_def ~ name ~ signature ~ equals ~ expr ~ bindings? }
    fn function(&mut self, pair: Pair<Rule>) -> Result<Function> {
        let mut children = self.children(pair);
        let doc = children.docs();
        let start = self.span(&children.expect(Rule::k_def)?);
        let name = self.name(children.expect(Rule::name)?);
        let signature = self.signature(children.expect(Rule::signature)?)?;
        children.expect(Rule::equals)?;
        let value = self.expr(children.expect(Rule::expr)?)?;
        let mut end = value.span;
        let bindings = self.bindings(&mut children, &mut end)?;
        Ok(Function {
            doc,
            name,
            signature,
            value,
            bindings,
            span: start.to(end),
        })
    }

    /// loss = { doc* ~ k_loss ~ name ~ signature? ~ equals ~ expr ~ gradient* ~ bindings? }
    fn loss(&mut self, pair: Pair<Rule>) -> Result<Loss> {
        let mut children = self.children(pair);
        let doc = children.docs();
        let start = self.span(&children.expect(Rule::k_loss)?);
        let name = self.name(children.expect(Rule::name)?);
        let signature = children
            .take(Rule::signature)
            .map(|pair| self.signature(pair))
            .transpose()?;
        children.expect(Rule::equals)?;
        let value = self.expr(children.expect(Rule::expr)?)?;
        let mut end = value.span;
        let mut gradients = vec![];
        while let Some(pair) = children.take(Rule::gradient) {
            let gradient = self.gradient(pair)?;
            end = gradient.span;
            gradients.push(gradient);
        }
        let bindings = self.bindings(&mut children, &mut end)?;
        Ok(Loss {
            doc,
            name,
            signature,
            value,
            gradients,
            bindings,
            span: start.to(end),
        })
    }

    /// gradient = { doc* ~ k_gradient ~ name ~ head? ~ equals ~ expr }
    fn gradient(&mut self, pair: Pair<Rule>) -> Result<Gradient> {
        let mut children = self.children(pair);
        let doc = children.docs();
        let start = self.span(&children.expect(Rule::k_gradient)?);
        let input = self.name(children.expect(Rule::name)?);
        let head = self.head(&mut children);
        children.expect(Rule::equals)?;
        let value = self.expr(children.expect(Rule::expr)?)?;
        Ok(Gradient {
            doc,
            input,
            head,
            span: start.to(value.span),
            value,
        })
    }

    /// bindings = { k_where ~ (extent | definition)+ }; moves `end` to the last of them.
    fn bindings(&mut self, children: &mut Children, end: &mut Span) -> Result<Bindings> {
        let mut bindings = Bindings::default();
        let Some(pair) = children.take(Rule::bindings) else {
            return Ok(bindings);
        };
        let mut children = self.children(pair);
        children.expect(Rule::k_where)?;
        while let Some(rule) = children.peek() {
            let pair = children.any()?;
            if rule == Rule::extent {
                let extent = self.extent(pair)?;
                *end = extent.span;
                bindings.extents.push(extent);
            } else {
                let definition = self.definition(pair)?;
                *end = definition.span;
                bindings.definitions.push(definition);
            }
        }
        Ok(bindings)
    }

    /// definition = { doc* ~ name ~ head? ~ equals ~ expr }
    fn definition(&mut self, pair: Pair<Rule>) -> Result<Definition> {
        let mut children = self.children(pair);
        let doc = children.docs();
        let name = self.name(children.expect(Rule::name)?);
        let head = self.head(&mut children);
        children.expect(Rule::equals)?;
        let value = self.expr(children.expect(Rule::expr)?)?;
        let span = name.span.to(value.span);
        Ok(Definition {
            doc,
            name,
            head,
            value,
            span,
        })
    }

    /// head = { open_bracket ~ axis ~ (comma ~ axis)* ~ comma? ~ close_bracket }
    fn head(&mut self, children: &mut Children) -> Option<Vec<Name>> {
        let mut children = self.children(children.take(Rule::head)?);
        let mut axes = vec![];
        while let Some(axis) = children.find(Rule::axis) {
            axes.push(self.name(axis));
        }
        Some(axes)
    }

    /// example = { doc* ~ k_example ~ name ~ open ~ settings? ~ close ~ double_equals ~ sum_alone }
    fn example(&mut self, pair: Pair<Rule>) -> Result<Example> {
        let mut children = self.children(pair);
        let doc = children.docs();
        let start = self.span(&children.expect(Rule::k_example)?);
        let loss = self.name(children.expect(Rule::name)?);
        let mut settings = vec![];
        children.expect(Rule::open)?;
        while let Some(setting) = children.take(Rule::setting) {
            let mut setting = self.children(setting);
            let name = self.name(setting.expect(Rule::name)?);
            setting.expect(Rule::equals)?;
            let value = self.value(setting.any()?)?;
            settings.push((name, value));
            children.take(Rule::comma);
        }
        let expected = children.find(Rule::sum_alone).ok_or_else(|| bug(start))?;
        let expected = self.sum_alone(expected)?;
        Ok(Example {
            doc,
            loss,
            settings,
            span: start.to(expected.span),
            expected,
        })
    }

    /// value = _{ list | literal }
    fn value(&mut self, pair: Pair<Rule>) -> Result<Value> {
        if pair.as_rule() == Rule::literal {
            return Ok(Value::Literal(self.literal(pair)?));
        }
        let children = self.children(pair);
        let mut values = vec![];
        for child in children.pairs {
            if matches!(child.as_rule(), Rule::list | Rule::literal) {
                values.push(self.value(child)?);
            }
        }
        Ok(Value::List(values, children.span))
    }
}

fn is_empty(file: &File) -> bool {
    let File {
        id: _,
        imports,
        extents,
        functions,
        loss,
        examples,
    } = file;
    imports.is_empty()
        && extents.is_empty()
        && functions.is_empty()
        && loss.is_none()
        && examples.is_empty()
}

fn nothing_declared(file: FileId) -> Diagnostic {
    Diagnostic::error("the file declares nothing")
        .at(
            Span {
                file,
                start: 0,
                end: 0,
            },
            "",
        )
        .help("a loss is declared as in `loss mse = mean((y - yhat)^2)`")
}

fn second_loss(first: &Loss, second: &Loss) -> Diagnostic {
    Diagnostic::error("a file declares at most one loss")
        .at(second.name.span, "the second loss")
        .at(first.name.span, "the first loss")
        .help(format!(
            "put `{}` into a file of its own, `{}.loss`; what both need can be a `def` there, which `use` imports",
            second.name.text, second.name.text
        ))
}
