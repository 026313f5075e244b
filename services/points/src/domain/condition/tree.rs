//! A checked condition, and how it is worked out.

use std::cmp::Ordering;

use super::{ConditionFault, NESTED_MAX, STEPS_MAX};
use crate::domain::{Line, Occasion};

/// What an expression comes to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Bool(bool),
    Int(i64),
    Text(&'a str),
    Line(&'a Line),
}

/// Something of a line.
pub(super) type OfLine = for<'a> fn(&'a Line) -> Value<'a>;

/// An expression for one value.
pub(super) enum Node {
    Bool(bool),
    Int(i64),
    Text(String),
    /// Something of the purchase, the member or the time.
    Field(for<'a> fn(&Occasion<'a>) -> Value<'a>),
    /// What a comprehension has come to, by how many it stands in.
    Variable(usize),
    /// Something of a line.
    LineField(Box<Node>, OfLine),
    Not(Box<Node>),
    Negate(Box<Node>),
    /// Whether one of two is of this value: `true` for or, `false` for and.
    Either(bool, Box<[Node; 2]>),
    If(Box<[Node; 3]>),
    Arithmetic(fn(i64, i64) -> Option<i64>, Box<[Node; 2]>),
    Compare(fn(Ordering) -> bool, Box<[Node; 2]>),
    Find(fn(&str, &str) -> bool, Box<[Node; 2]>),
    Length(Box<Node>),
    Size(List),
    In(Box<Node>, List),
    /// Whether a value is in a list of which the body is of this value.
    Any(bool, Box<Comprehension>),
    ExactlyOne(Box<Comprehension>),
}

/// An expression for several values.
pub(super) enum List {
    Lines,
    /// Tiers when it was bought.
    Tiers,
    Labels(for<'a> fn(&Occasion<'a>) -> &'a [String]),
    Literal(Vec<Node>),
    Filter(Box<Comprehension>),
}

/// An expression of each value of a list.
pub(super) struct Comprehension {
    pub(super) list: List,
    /// Its variable: how many comprehensions it stands in.
    pub(super) variable: usize,
    pub(super) body: Node,
}

/// One working out of a condition.
pub(super) struct Run<'a> {
    occasion: &'a Occasion<'a>,
    variables: [Value<'a>; NESTED_MAX],
    steps_left: usize,
}

type Result<T> = std::result::Result<T, ConditionFault>;

impl<'a> Run<'a> {
    pub(super) fn new(occasion: &'a Occasion<'a>) -> Run<'a> {
        Run { occasion, variables: [Value::Bool(false); NESTED_MAX], steps_left: STEPS_MAX }
    }

    pub(super) fn truth(&mut self, node: &'a Node) -> Result<bool> {
        match self.value(node)? {
            Value::Bool(truth) => Ok(truth),
            _ => Err(ConditionFault::Mismatch),
        }
    }

    fn int(&mut self, node: &'a Node) -> Result<i64> {
        match self.value(node)? {
            Value::Int(int) => Ok(int),
            _ => Err(ConditionFault::Mismatch),
        }
    }

    fn text(&mut self, node: &'a Node) -> Result<&'a str> {
        match self.value(node)? {
            Value::Text(text) => Ok(text),
            _ => Err(ConditionFault::Mismatch),
        }
    }

    fn value(&mut self, node: &'a Node) -> Result<Value<'a>> {
        self.steps(1)?;
        Ok(match node {
            Node::Bool(truth) => Value::Bool(*truth),
            Node::Int(int) => Value::Int(*int),
            Node::Text(text) => Value::Text(text),
            Node::Field(of) => of(self.occasion),
            Node::Variable(place) => self.variables[*place],
            Node::LineField(line, of) => match self.value(line)? {
                Value::Line(line) => of(line),
                _ => return Err(ConditionFault::Mismatch),
            },
            Node::Not(one) => Value::Bool(!self.truth(one)?),
            Node::Negate(one) => Value::Int(self.int(one)?.checked_neg().ok_or(ConditionFault::Arithmetic)?),
            Node::Either(sought, two) => Value::Bool(self.either(*sought, two)?),
            Node::If(three) => {
                let [condition, yes, no] = &**three;
                if self.truth(condition)? { self.value(yes)? } else { self.value(no)? }
            }
            Node::Arithmetic(of, two) => Value::Int(of(self.int(&two[0])?, self.int(&two[1])?).ok_or(ConditionFault::Arithmetic)?),
            Node::Compare(holds, two) => Value::Bool(holds(order(self.value(&two[0])?, self.value(&two[1])?)?)),
            Node::Find(holds, two) => Value::Bool(holds(self.text(&two[0])?, self.text(&two[1])?)),
            Node::Length(text) => Value::Int(count(self.text(text)?.chars().count())),
            Node::Size(list) => Value::Int(count(self.values(list)?.len())),
            Node::In(one, list) => {
                let sought = self.value(one)?;
                Value::Bool(self.values(list)?.into_iter().any(|value| order(sought, value) == Ok(Ordering::Equal)))
            }
            Node::Any(sought, comprehension) => Value::Bool(self.any(*sought, comprehension)?),
            Node::ExactlyOne(comprehension) => Value::Bool(self.kept(comprehension)?.len() == 1),
        })
    }

    /// As CEL has it, whether one of two is so does not depend on whether the other can be worked out, nor on which comes first.
    fn either(&mut self, sought: bool, two: &'a [Node; 2]) -> Result<bool> {
        match self.truth(&two[0]) {
            Err(ConditionFault::Arithmetic) if self.truth(&two[1])? == sought => Ok(sought),
            Ok(first) if first != sought => self.truth(&two[1]),
            first => first,
        }
    }

    /// The same of many.
    fn any(&mut self, sought: bool, comprehension: &'a Comprehension) -> Result<bool> {
        let Comprehension { list, variable, body } = comprehension;
        let mut last = Ok(!sought);
        for value in self.values(list)? {
            match self.of(*variable, value, body) {
                Ok(truth) if truth != sought => {}
                Err(ConditionFault::Arithmetic) => last = Err(ConditionFault::Arithmetic),
                decided => return decided,
            }
        }
        last
    }

    /// Those of a list of which the body is true.
    fn kept(&mut self, comprehension: &'a Comprehension) -> Result<Vec<Value<'a>>> {
        let Comprehension { list, variable, body } = comprehension;
        let mut kept = Vec::new();
        for value in self.values(list)? {
            if self.of(*variable, value, body)? {
                kept.push(value);
            }
        }
        Ok(kept)
    }

    /// Whether the body of a comprehension is true of a value.
    fn of(&mut self, variable: usize, value: Value<'a>, body: &'a Node) -> Result<bool> {
        self.variables[variable] = value;
        self.truth(body)
    }

    /// As CEL has it, all of a list is worked out before anything is asked of it.
    fn values(&mut self, list: &'a List) -> Result<Vec<Value<'a>>> {
        let occasion = self.occasion;
        let values: Vec<_> = match list {
            List::Lines => occasion.basket.lines.iter().map(Value::Line).collect(),
            List::Tiers => occasion.tiers().map(Value::Text).collect(),
            List::Labels(of) => of(occasion).iter().map(|label| Value::Text(label)).collect(),
            List::Literal(nodes) => nodes.iter().map(|node| self.value(node)).collect::<Result<_>>()?,
            List::Filter(filter) => self.kept(filter)?,
        };
        self.steps(values.len())?;
        Ok(values)
    }

    fn steps(&mut self, number: usize) -> Result<()> {
        self.steps_left = self.steps_left.checked_sub(number).ok_or(ConditionFault::TooLong)?;
        Ok(())
    }
}

fn order(one: Value<'_>, other: Value<'_>) -> Result<Ordering> {
    match (one, other) {
        (Value::Bool(one), Value::Bool(other)) => Ok(one.cmp(&other)),
        (Value::Int(one), Value::Int(other)) => Ok(one.cmp(&other)),
        (Value::Text(one), Value::Text(other)) => Ok(one.cmp(other)),
        _ => Err(ConditionFault::Mismatch),
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
