//! Is there an order of the operations that explains all answers?
//!
//! The algorithm is Wing and Gong's with Lowe's memory of what was tried: take
//! any operation that was asked before the first answer among those not taken
//! yet, apply it, go on; where none fits, go back. Keys are judged one by one,
//! since a history is linearizable if it is so for every key.

use std::collections::HashSet;

use super::history::{Operation, Value};

/// Steps after which the search gives up. A history without contradiction takes
/// a few steps an operation.
const STEPS: usize = 20_000_000;

/// What the search found for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Linearizable,
    /// There is none. The longest attempt stopped before this operation's answer.
    Contradiction(Operation),
    /// The search took too many steps.
    Undecided,
}

/// Judges the operations on one key.
pub fn judge(operations: &[Operation]) -> Verdict {
    Search::new(operations).run()
}

/// A moment in a history: an operation begins or ends.
#[derive(Clone, Copy)]
enum Moment {
    Asked(usize),
    Answered(usize),
}

/// The moments that are left, as a ring of neighbours: the last place is the
/// ring's knot.
struct Moments {
    moments: Vec<Moment>,
    next: Vec<usize>,
    previous: Vec<usize>,
    /// For each operation, where it begins and ends; what is not answered has no end.
    places: Vec<(usize, Option<usize>)>,
}

impl Moments {
    fn new(operations: &[Operation]) -> Self {
        let mut moments: Vec<(std::time::Duration, bool, Moment)> = Vec::new();
        for (number, operation) in operations.iter().enumerate() {
            moments.push((operation.asked, false, Moment::Asked(number)));
            if let Some(answered) = operation.answered {
                moments.push((answered, true, Moment::Answered(number)));
            }
        }
        // Of two moments at one time, the beginning first: that rules out less.
        moments.sort_by_key(|(time, is_answer, _)| (*time, *is_answer));
        let moments: Vec<Moment> = moments.into_iter().map(|(.., what)| what).collect();
        let mut places = vec![(0, None); operations.len()];
        for (place, moment) in moments.iter().enumerate() {
            match *moment {
                Moment::Asked(number) => places[number].0 = place,
                Moment::Answered(number) => places[number].1 = Some(place),
            }
        }
        let knot = moments.len();
        Moments {
            next: (0..=knot)
                .map(|place| if place == knot { 0 } else { place + 1 })
                .collect(),
            previous: (0..=knot)
                .map(|place| if place == 0 { knot } else { place - 1 })
                .collect(),
            moments,
            places,
        }
    }

    fn knot(&self) -> usize {
        self.moments.len()
    }

    fn first(&self) -> usize {
        self.next[self.knot()]
    }

    fn unlink(&mut self, place: usize) {
        let (before, after) = (self.previous[place], self.next[place]);
        self.next[before] = after;
        self.previous[after] = before;
    }

    fn relink(&mut self, place: usize) {
        let (before, after) = (self.previous[place], self.next[place]);
        self.next[before] = place;
        self.previous[after] = place;
    }

    fn take(&mut self, operation: usize) {
        let (begin, end) = self.places[operation];
        self.unlink(begin);
        if let Some(end) = end {
            self.unlink(end);
        }
    }

    /// Undoes the newest [`Moments::take`] that is not undone yet.
    fn give_back(&mut self, operation: usize) {
        let (begin, end) = self.places[operation];
        if let Some(end) = end {
            self.relink(end);
        }
        self.relink(begin);
    }
}

struct Search<'a> {
    operations: &'a [Operation],
    moments: Moments,
    /// One bit for each operation that was taken.
    taken: Vec<u64>,
    held: Option<Value>,
    /// Sets of operations taken and what the key then held: no use in twice.
    tried: HashSet<(Vec<u64>, Option<Value>)>,
    /// Operations taken, in order, with what the key held before each.
    path: Vec<(usize, Option<Value>)>,
}

impl<'a> Search<'a> {
    fn new(operations: &'a [Operation]) -> Self {
        Search {
            operations,
            moments: Moments::new(operations),
            taken: vec![0; operations.len().div_ceil(64)],
            held: None,
            tried: HashSet::new(),
            path: Vec::new(),
        }
    }

    fn run(mut self) -> Verdict {
        let mut place = self.moments.first();
        let mut furthest = (0, None);
        for _ in 0..STEPS {
            if place == self.moments.knot() {
                // Only operations without an answer are left, and those may never
                // have taken effect.
                return Verdict::Linearizable;
            }
            let moment = self.moments.moments[place];
            place = match moment {
                Moment::Asked(operation) if self.try_to_take(operation) => {
                    self.moments.first()
                }
                Moment::Asked(_) => self.moments.next[place],
                Moment::Answered(operation) => {
                    if furthest.1.is_none() || self.path.len() > furthest.0 {
                        furthest = (self.path.len(), Some(operation));
                    }
                    let Some((newest, held)) = self.path.pop() else {
                        let stuck = furthest.1.unwrap_or(operation);
                        return Verdict::Contradiction(self.operations[stuck].clone());
                    };
                    self.held = held;
                    self.taken[newest / 64] &= !(1 << (newest % 64));
                    self.moments.give_back(newest);
                    self.moments.next[self.moments.places[newest].0]
                }
            };
        }
        Verdict::Undecided
    }

    fn try_to_take(&mut self, operation: usize) -> bool {
        let Some(held) = self.operations[operation].deed.apply(self.held) else {
            return false;
        };
        let bit = 1 << (operation % 64);
        self.taken[operation / 64] |= bit;
        if !self.tried.insert((self.taken.clone(), held)) {
            self.taken[operation / 64] &= !bit;
            return false;
        }
        self.path.push((operation, self.held));
        self.held = held;
        self.moments.take(operation);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::history::Deed;
    use super::*;

    /// A history as text: one operation a word, `deed@asked-answered`, without
    /// `-answered` if nobody knows. Deeds: `p1` put, `g1` and `g_` get, `d+` and
    /// `d-` delete, `s_1+`, `s12-` swap, `r1` revoke.
    fn history(text: &str) -> Vec<Operation> {
        text.split_whitespace().map(operation).collect()
    }

    fn operation(word: &str) -> Operation {
        let (deed, times) = word.split_once('@').unwrap();
        let (asked, answered) = match times.split_once('-') {
            Some((asked, answered)) => (asked, Some(answered)),
            None => (times, None),
        };
        let time = |text: &str| Duration::from_millis(text.parse().unwrap());
        let letters: Vec<char> = deed.chars().collect();
        let value = |letter: char| letter.to_digit(10).map(u64::from);
        let answer = |letter: char| Some(letter == '+').filter(|_| answered.is_some());
        let deed = match letters[..] {
            ['p', new] => Deed::Put(value(new).unwrap()),
            ['g', seen] => Deed::Get(value(seen)),
            ['d', found] => Deed::Delete {
                found: answer(found),
            },
            ['s', expected, new, swapped] => Deed::Swap {
                expected: value(expected),
                new: value(new).unwrap(),
                swapped: answer(swapped),
            },
            ['r', old] => Deed::Revoke(value(old).unwrap()),
            _ => panic!("{word}"),
        };
        Operation {
            key: 0,
            deed,
            asked: time(asked),
            answered: answered.map(time),
            revision: None,
        }
    }

    #[track_caller]
    fn check(text: &str, expected: bool) {
        let verdict = judge(&history(text));
        match expected {
            true => assert_eq!(verdict, Verdict::Linearizable, "{text}"),
            false => assert!(matches!(verdict, Verdict::Contradiction(_)), "{text}"),
        }
    }

    #[test]
    fn histories() {
        check("", true);
        check("g_@0-1", true);
        check("g1@0-1", false);
        check("p1@0-1 g1@2-3", true);
        // A lost write.
        check("p1@0-1 g_@2-3", false);
        // A stale read.
        check("p1@0-1 p2@2-3 g1@4-5", false);
        // At the same time: either order.
        check("p1@0-3 p2@1-4 g1@5-6", true);
        check("p1@0-3 p2@1-4 g2@5-6", true);
        // But not first one and then the other.
        check("p1@0-3 p2@1-4 g1@5-6 g2@7-8", false);
        // A read in the middle of a write sees it or not, and once seen it stays.
        check("p1@0-9 g_@1-2 g1@3-4 g1@5-6", true);
        check("p1@0-9 g1@1-2 g_@3-4", false);
        // Nobody knows: it may have been, also much later, or never.
        check("p1@0 g_@1-2 g1@3-4 g1@5-6", true);
        check("p1@0 g_@1-2 g_@3-4", true);
        check("p1@0 g1@1-2 g_@3-4", false);
        check("p1@0-1 p2@2 g2@3-4 g1@5-6", false);
        check("p1@0-1 d+@2-3 g_@4-5", true);
        check("p1@0-1 d-@2-3", false);
        check("d-@0-1", true);
        check("d+@0-1", false);
        check("p1@0-1 s12+@2-3 g2@4-5", true);
        check("p1@0-1 s12-@2-3", false);
        check("s_1+@0-2 s_2+@1-3", false);
        check("s_1+@0-2 s_2-@1-3 g1@4-5", true);
        check("p1@0-1 s12?@2 g1@3-4 g2@5-6", true);
        check("p1@0-1 r1@2-3 g_@4-5", true);
        check("p1@0-1 r1@2-3 g1@4-5", false);
        check("p1@0-1 p2@2-3 r1@4-5 g2@6-7", true);
    }

    /// What a careless search would need ages for.
    #[test]
    fn many_at_once() {
        let mut text = String::new();
        for round in 0..40 {
            for client in 0..8 {
                let begin = round * 100 + client;
                text.push_str(&format!("p{client}@{begin}-{} ", begin + 50));
            }
            text.push_str(&format!("g7@{}-{} ", round * 100 + 60, round * 100 + 61));
        }
        check(&text, true);
        text.push_str("g9@99999-100000");
        let verdict = judge(&history(&text));
        assert!(matches!(verdict, Verdict::Contradiction(_)), "{verdict:?}");
    }
}
