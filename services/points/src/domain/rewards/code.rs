use std::fmt;

/// What codes are written in: digits and capitals without I, L, O and U. Its 32 characters stand for the elements of a field.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters that carry 80 secret bits, and two that check them.
const SECRET: usize = 16;
const LENGTH: usize = SECRET + 2;
const GROUP: usize = 6;

/// The code of a voucher: whoever shows it may use it.
///
/// The two check characters are weighted sums in the field of 32 elements, so that any two codes differ in three characters at least: one
/// wrong character, two wrong ones, and two that changed places are always seen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code([u8; LENGTH]);

impl Code {
    /// The code that carries these secret bits.
    pub fn of_secret(secret: [u8; 10]) -> Code {
        let mut number = secret.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
        let mut digits = [0; LENGTH];
        for digit in digits[..SECRET].iter_mut().rev() {
            *digit = u8::try_from(number & 31).expect("five bits");
            number >>= 5;
        }
        (digits[SECRET], digits[SECRET + 1]) = checks(&digits[..SECRET]);
        Code(digits)
    }

    /// Reads a code as people type it: in any case, with hyphens and spaces, O for zero, I and L for one. `None` for what is no code.
    pub fn parse(typed: &str) -> Option<Code> {
        let mut digits = [0; LENGTH];
        let mut length = 0;
        for typed in typed.bytes().filter(|byte| !matches!(byte, b'-' | b' ')) {
            *digits.get_mut(length)? = digit(typed)?;
            length += 1;
        }
        let (first, second) = checks(&digits[..SECRET]);
        (length == LENGTH && digits[SECRET..] == [first, second]).then_some(Code(digits))
    }

    /// The characters without hyphens: what is hashed to look it up.
    pub fn canonical(&self) -> [u8; LENGTH] {
        self.0.map(|digit| ALPHABET[usize::from(digit)])
    }

    /// As it is printed: three groups of six.
    pub fn shown(&self) -> String {
        let groups = self.canonical();
        groups.chunks(GROUP).map(|group| String::from_utf8_lossy(group).into_owned()).collect::<Vec<_>>().join("-")
    }

    /// Its last four characters: enough to tell two vouchers apart, and not to guess one.
    pub fn end(&self) -> String {
        String::from_utf8_lossy(&self.canonical()[LENGTH - 4..]).into_owned()
    }
}

/// Holding a code is a right: it stays out of logs.
impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

fn digit(typed: u8) -> Option<u8> {
    let meant = match typed.to_ascii_uppercase() {
        b'O' => b'0',
        b'I' | b'L' => b'1',
        other => other,
    };
    ALPHABET.iter().position(|known| *known == meant).and_then(|place| u8::try_from(place).ok())
}

/// The plain sum, and the sum weighted by ascending powers of the field's generator.
fn checks(secret: &[u8]) -> (u8, u8) {
    let plain = secret.iter().fold(0, |sum, digit| sum ^ digit);
    // By Horner's rule: each digit is multiplied once more than the one behind it.
    let weighted = secret.iter().fold(0, |sum, digit| double(sum ^ digit));
    (plain, weighted)
}

/// Times the generator, modulo x⁵ + x² + 1.
fn double(element: u8) -> u8 {
    let shifted = element << 1;
    if shifted & 32 == 0 { shifted } else { shifted ^ 0b10_0101 }
}
