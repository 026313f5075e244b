//! From a text to a condition whose types fit, or to the place of what is wrong.

use std::cmp::Ordering;
use std::fmt;

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SelectExpr, SourceInfo, operators};
use cel::{Env, ParseErrors};

use super::tree::{Comprehension, List, Node, OfLine, Value};
use super::{ConditionError, DEPTH_MAX, NESTED_MAX};

/// What an expression, or each of a list, comes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Int,
    Text,
    Line,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Bool => "bool",
            Kind::Int => "int",
            Kind::Text => "string",
            Kind::Line => "line",
        })
    }
}

/// An expression with its type.
enum Typed {
    One(Kind, Node),
    Many(Kind, List),
}

impl fmt::Display for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Typed::One(kind, _) => write!(f, "{kind}"),
            Typed::Many(kind, _) => write!(f, "list of {kind}s"),
        }
    }
}

type Result<T> = std::result::Result<T, ConditionError>;

/// The condition that a text is.
pub(super) fn root(text: &str) -> Result<Node> {
    // Without macros, comprehensions stay as they are written.
    let parser = Env::default().with_optional_support(false).parser();
    let (expression, places) = parser.parse_with_source_info(text).map_err(syntax)?;
    Checker { text, places, variables: Vec::new(), depth: 0 }.one_of(Kind::Bool, &expression)
}

/// The first of what the parser found.
fn syntax(errors: ParseErrors) -> ConditionError {
    let place = |number: isize| usize::try_from(number).unwrap_or(0).max(1);
    let first = errors.errors.into_iter().min_by_key(|error| error.pos);
    let (pos, told) = first.map(|error| (error.pos, error.msg)).unwrap_or_default();
    let told = told.strip_prefix("Syntax error: ").unwrap_or(&told);
    // What it had expected instead is a list of all that may stand there.
    let what = told.split_once(" expecting ").map_or(told, |(what, _)| what).replace("'<EOF>'", "the end");
    let what = if what.contains("Recursion limit") { "is nested too deeply".to_owned() } else { what };
    ConditionError { line: place(pos.0), column: place(pos.1), what }
}

struct Checker<'a> {
    text: &'a str,
    places: SourceInfo,
    /// Of the comprehensions that the expression stands in.
    variables: Vec<(String, Kind)>,
    depth: usize,
}

impl Checker<'_> {
    fn wrong<T>(&self, offset: usize, what: impl Into<String>) -> Result<T> {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Err(ConditionError { line, column, what: what.into() })
    }

    fn offset(&self, id: u64) -> usize {
        self.places.offset_for(id).map_or(0, |(start, _)| usize::try_from(start).unwrap_or(0))
    }

    /// Where an expression begins: the parser tells of an operator's place, or of a bracket's.
    fn start(&self, expression: &IdedExpr) -> usize {
        let own = self.offset(expression.id);
        match &expression.expr {
            Expr::Call(CallExpr { target, args, .. }) => {
                let parts = target.as_deref().into_iter().chain(args);
                parts.map(|part| self.start(part)).chain([own]).min().unwrap_or(own)
            }
            Expr::Select(SelectExpr { operand, .. }) => self.start(operand).min(own),
            _ => own,
        }
    }

    fn one_of(&mut self, wanted: Kind, expression: &IdedExpr) -> Result<Node> {
        match self.typed(expression)? {
            Typed::One(kind, node) if kind == wanted => Ok(node),
            other => self.wrong(self.start(expression), format!("is of type {other}, and must be of type {wanted}")),
        }
    }

    fn one(&mut self, expression: &IdedExpr) -> Result<(Kind, Node)> {
        match self.typed(expression)? {
            Typed::One(kind, node) => Ok((kind, node)),
            list => self.wrong(
                self.start(expression),
                format!("is of type {list}, which is asked with in, size, exists, all, exists_one and filter"),
            ),
        }
    }

    fn list(&mut self, expression: &IdedExpr) -> Result<(Kind, List)> {
        match self.typed(expression)? {
            Typed::Many(kind, list) => Ok((kind, list)),
            one => self.wrong(self.start(expression), format!("is of type {one}, and must be a list")),
        }
    }

    fn both(&mut self, kind: Kind, args: &[IdedExpr]) -> Result<Box<[Node; 2]>> {
        match args {
            [one, other] => Ok(Box::new([self.one_of(kind, one)?, self.one_of(kind, other)?])),
            _ => self.wrong(0, "an operator has two sides"),
        }
    }

    fn typed(&mut self, expression: &IdedExpr) -> Result<Typed> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return self.wrong(self.offset(expression.id), "is nested too deeply");
        }
        let typed = match &expression.expr {
            Expr::Literal(literal) => self.literal(literal, expression),
            Expr::Ident(name) => self.variable(name, expression),
            Expr::Select(select) => self.select(select, expression),
            Expr::List(list) => self.literal_list(&list.elements, expression),
            Expr::Call(call) => self.call(call, expression),
            Expr::Map(_) | Expr::Struct(_) | Expr::Comprehension(_) | Expr::Unspecified => {
                self.wrong(self.offset(expression.id), "is not known here: there are bools, ints, strings and lists of them")
            }
        };
        self.depth -= 1;
        typed
    }

    fn literal(&self, literal: &LiteralValue, expression: &IdedExpr) -> Result<Typed> {
        Ok(match literal {
            LiteralValue::Boolean(truth) => Typed::One(Kind::Bool, Node::Bool(*truth.inner())),
            LiteralValue::Int(int) => Typed::One(Kind::Int, Node::Int(*int.inner())),
            LiteralValue::String(text) => Typed::One(Kind::Text, Node::Text(text.inner().to_owned())),
            LiteralValue::Double(_) | LiteralValue::UInt(_) | LiteralValue::Bytes(_) | LiteralValue::Null => {
                return self.wrong(self.offset(expression.id), "is not known here: there are bools, whole numbers and strings");
            }
        })
    }

    fn literal_list(&mut self, elements: &[IdedExpr], list: &IdedExpr) -> Result<Typed> {
        let mut nodes = Vec::with_capacity(elements.len());
        let mut of = None;
        for element in elements {
            let (kind, node) = self.one(element)?;
            if *of.get_or_insert(kind) != kind {
                return self.wrong(self.start(element), format!("is of type {kind} in a list of other things"));
            }
            nodes.push(node);
        }
        match of {
            Some(kind) => Ok(Typed::Many(kind, List::Literal(nodes))),
            None => self.wrong(self.offset(list.id), "is empty"),
        }
    }

    fn variable(&self, name: &str, expression: &IdedExpr) -> Result<Typed> {
        if let Some(place) = self.variables.iter().position(|(known, _)| known == name) {
            return Ok(Typed::One(self.variables[place].1, Node::Variable(place)));
        }
        let offset = self.offset(expression.id);
        match fields_of(name) {
            Some(fields) => self.wrong(offset, format!("`{name}` alone is nothing: it has {fields}")),
            None => self.wrong(offset, format!("`{name}` is not known: there are purchase, member and local")),
        }
    }

    fn select(&mut self, select: &SelectExpr, expression: &IdedExpr) -> Result<Typed> {
        let SelectExpr { operand, field: name, .. } = select;
        let after_dot = self.offset(expression.id) + 1;
        let offset = self.text.get(after_dot..).map_or(after_dot, |rest| after_dot + rest.len() - rest.trim_start().len());
        let unknown = |fields: &str| format!("`{name}` is not known: there are {fields}");
        if let Expr::Ident(root) = &operand.expr
            && self.variables.iter().all(|(known, _)| known != root)
        {
            let Some(fields) = fields_of(root) else { return self.variable(root, operand) };
            return field(root, name).map_or_else(|| self.wrong(offset, unknown(fields)), Ok);
        }
        let line = Box::new(self.one_of(Kind::Line, operand)?);
        match line_field(name) {
            Some((kind, of)) => Ok(Typed::One(kind, Node::LineField(line, of))),
            None => self.wrong(offset, unknown("sku, category, quantity and net")),
        }
    }

    fn call(&mut self, call: &CallExpr, expression: &IdedExpr) -> Result<Typed> {
        use Kind::{Bool, Int, Text};
        let CallExpr { func_name: name, target, args } = call;
        let truth = |node| Ok(Typed::One(Bool, node));
        match (name.as_str(), target.as_deref(), args.as_slice()) {
            (operators::LOGICAL_AND, None, args) => truth(Node::Either(false, self.both(Bool, args)?)),
            (operators::LOGICAL_OR, None, args) => truth(Node::Either(true, self.both(Bool, args)?)),
            (operators::LOGICAL_NOT, None, [one]) => truth(Node::Not(Box::new(self.one_of(Bool, one)?))),
            (operators::NEGATE, None, [one]) => Ok(Typed::One(Int, Node::Negate(Box::new(self.one_of(Int, one)?)))),
            (operators::CONDITIONAL, None, [condition, yes, no]) => {
                let condition = self.one_of(Bool, condition)?;
                let (kind, yes) = self.one(yes)?;
                Ok(Typed::One(kind, Node::If(Box::new([condition, yes, self.one_of(kind, no)?]))))
            }
            (operators::IN, None, [one, list]) => {
                let (kind, list) = self.list(list)?;
                if kind == Kind::Line {
                    return self.wrong(self.start(one), "lines are not compared: ask for one that exists");
                }
                truth(Node::In(Box::new(self.one_of(kind, one)?), list))
            }
            ("size", None, [of]) | ("size", Some(of), []) => Ok(Typed::One(
                Int,
                match self.typed(of)? {
                    Typed::Many(_, list) => Node::Size(list),
                    Typed::One(Text, text) => Node::Length(Box::new(text)),
                    other => return self.wrong(self.start(of), format!("is of type {other}, and must be a list or a string")),
                },
            )),
            ("exists", Some(list), args) => truth(Node::Any(true, self.comprehension(list, args, expression)?.1)),
            ("all", Some(list), args) => truth(Node::Any(false, self.comprehension(list, args, expression)?.1)),
            ("exists_one", Some(list), args) => truth(Node::ExactlyOne(self.comprehension(list, args, expression)?.1)),
            ("filter", Some(list), args) => {
                let (kind, filter) = self.comprehension(list, args, expression)?;
                Ok(Typed::Many(kind, List::Filter(filter)))
            }
            (name, None, [one, other]) if let Some(holds) = comparison(name) => {
                let (kind, node) = self.one(one)?;
                if kind == Kind::Line {
                    return self.wrong(self.start(one), "lines are not compared: ask for their fields");
                }
                truth(Node::Compare(holds, Box::new([node, self.one_of(kind, other)?])))
            }
            (name, None, [_, other]) if let Some(of) = arithmetic(name) => {
                let two = self.both(Int, args)?;
                if matches!((name, &two[1]), (operators::DIVIDE | operators::MODULO, Node::Int(0))) {
                    return self.wrong(self.start(other), "is a division by zero");
                }
                Ok(Typed::One(Int, Node::Arithmetic(of, two)))
            }
            (name, Some(text), [part]) if let Some(holds) = find(name) => {
                truth(Node::Find(holds, Box::new([self.one_of(Text, text)?, self.one_of(Text, part)?])))
            }
            (operators::INDEX, ..) => self.wrong(self.offset(expression.id), "a list has no places here: ask for one that exists"),
            (name, ..) => {
                // A call stands at its bracket.
                let bracket = self.offset(expression.id);
                let before = self.text.get(..bracket).unwrap_or_default().trim_end();
                let offset = if before.ends_with(name) { before.len() - name.len() } else { bracket };
                self.wrong(offset, format!("there is no such function `{name}`, or not with these arguments"))
            }
        }
    }

    fn comprehension(&mut self, list: &IdedExpr, args: &[IdedExpr], call: &IdedExpr) -> Result<(Kind, Box<Comprehension>)> {
        let [IdedExpr { id, expr: Expr::Ident(name) }, body] = args else {
            return self.wrong(self.offset(call.id), "takes a name and an expression: lines.exists(line, line.net > 0)");
        };
        let (kind, list) = self.list(list)?;
        let variable = self.variables.len();
        if fields_of(name).is_some() || self.variables.iter().any(|(known, _)| known == name) {
            return self.wrong(self.offset(*id), format!("`{name}` is taken"));
        }
        if variable == NESTED_MAX {
            return self.wrong(self.offset(call.id), "is nested too deeply");
        }
        self.variables.push((name.clone(), kind));
        let body = self.one_of(Kind::Bool, body);
        self.variables.pop();
        Ok((kind, Box::new(Comprehension { list, variable, body: body? })))
    }
}

/// What there is of each thing that a condition knows.
fn fields_of(root: &str) -> Option<&'static str> {
    match root {
        "purchase" => Some("net, channel, store, offer and lines"),
        "member" => Some("tiers, tags, segments, purchases and days_away"),
        "local" => Some("year, month, day, weekday, hour and minute"),
        _ => None,
    }
}

fn field(root: &str, name: &str) -> Option<Typed> {
    let int = |of| Some(Typed::One(Kind::Int, Node::Field(of)));
    let text = |of| Some(Typed::One(Kind::Text, Node::Field(of)));
    match (root, name) {
        ("purchase", "net") => int(|on| Value::Int(on.basket.net)),
        ("purchase", "channel") => text(|on| Value::Text(on.basket.channel)),
        // Its own id, so that a condition means the same in another program.
        ("purchase", "store") => text(|on| Value::Text(on.basket.store.rsplit('/').next().unwrap_or_default())),
        ("purchase", "offer") => text(|on| Value::Text(on.basket.offer)),
        ("purchase", "lines") => Some(Typed::Many(Kind::Line, List::Lines)),
        ("member", "tiers") => Some(Typed::Many(Kind::Text, List::Tiers)),
        ("member", "tags") => Some(Typed::Many(Kind::Text, List::Labels(|on| &on.buyer.facts.tags))),
        ("member", "segments") => Some(Typed::Many(Kind::Text, List::Labels(|on| &on.buyer.facts.segments))),
        ("member", "purchases") => int(|on| Value::Int(on.buyer.purchases)),
        ("member", "days_away") => int(|on| Value::Int(on.days_away().map_or(-1, i64::from))),
        ("local", "year") => int(|on| Value::Int(on.wall.year().into())),
        ("local", "month") => int(|on| Value::Int(on.wall.month().into())),
        ("local", "day") => int(|on| Value::Int(on.wall.day().into())),
        ("local", "weekday") => int(|on| Value::Int(on.wall.weekday().to_monday_one_offset().into())),
        ("local", "hour") => int(|on| Value::Int(on.wall.hour().into())),
        ("local", "minute") => int(|on| Value::Int(on.wall.minute().into())),
        _ => None,
    }
}

fn line_field(name: &str) -> Option<(Kind, OfLine)> {
    match name {
        "sku" => Some((Kind::Text, |line| Value::Text(&line.sku))),
        "category" => Some((Kind::Text, |line| Value::Text(&line.category))),
        "quantity" => Some((Kind::Int, |line| Value::Int(line.quantity))),
        "net" => Some((Kind::Int, |line| Value::Int(line.net))),
        _ => None,
    }
}

fn comparison(operator: &str) -> Option<fn(Ordering) -> bool> {
    match operator {
        operators::EQUALS => Some(Ordering::is_eq),
        operators::NOT_EQUALS => Some(Ordering::is_ne),
        operators::LESS => Some(Ordering::is_lt),
        operators::LESS_EQUALS => Some(Ordering::is_le),
        operators::GREATER => Some(Ordering::is_gt),
        operators::GREATER_EQUALS => Some(Ordering::is_ge),
        _ => None,
    }
}

fn arithmetic(operator: &str) -> Option<fn(i64, i64) -> Option<i64>> {
    match operator {
        operators::ADD => Some(i64::checked_add),
        operators::SUBSTRACT => Some(i64::checked_sub),
        operators::MULTIPLY => Some(i64::checked_mul),
        operators::DIVIDE => Some(i64::checked_div),
        operators::MODULO => Some(i64::checked_rem),
        _ => None,
    }
}

fn find(function: &str) -> Option<fn(&str, &str) -> bool> {
    match function {
        "startsWith" => Some(|text, part| text.starts_with(part)),
        "endsWith" => Some(|text, part| text.ends_with(part)),
        "contains" => Some(|text, part| text.contains(part)),
        _ => None,
    }
}
