// How prices, counts, money and ages are written. Prices are integers of $0.0001, counts integers of 0.01 contract,
// money integers or BigInts of $0.000001; the same words as the server's `prices` filters.

export const NONE = "–";
export const PRICE_UNITS = 10_000; // one dollar
const MINUS = "−";
const SIDES = { yes: "YES", no: "NO" };

export function cents(price) {
  return price === null || price === undefined ? NONE : `${plainCents(price)}¢`;
}

// 5750 → "57.5": without the sign, for fields and ladders.
export function plainCents(price) {
  return decimal(BigInt(price), 2, 0);
}

export function contracts(count) {
  return count === null || count === undefined ? NONE : decimal(BigInt(count), 2, 0);
}

// Two digits at least, more where there are more.
export function dollars(micros) {
  const value = BigInt(micros);
  return `${value < 0n ? MINUS : ""}$${decimal(value < 0n ? -value : value, 6, 2)}`;
}

// A gain or a loss, down to the cent that is certain: "+$7.20", "−$0.80".
export function signedDollars(micros) {
  const cents = Math.floor(micros / 10_000);
  return `${cents > 0 ? "+" : ""}${dollars(BigInt(cents) * 10_000n)}`;
}

// The same for a narrow column: "+47.20", "−1,230".
export function gain(micros) {
  const words = signedDollars(micros).replace("$", "");
  return Math.abs(micros) < 1_000_000_000 ? words : words.split(".")[0];
}

export function side(name) {
  return SIDES[name];
}

// 210 → "0.2 s", 41000 → "41 s", 95000 → "1:35", 2 h → "2 h".
export function age(ms) {
  if (ms === null || ms === undefined) return "";
  const tenths = Math.floor(Math.max(0, ms) / 100);
  if (tenths < 100) return `${Math.floor(tenths / 10)}.${tenths % 10} s`;
  const seconds = Math.floor(tenths / 10);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  return seconds < 86_400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}

const CLOCK = new Intl.DateTimeFormat("en-GB", {
  timeZone: "America/New_York", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});

export function clock(ms) {
  return CLOCK.format(ms);
}

const DAY_CLOCK = new Intl.DateTimeFormat("en-GB", {
  timeZone: "America/New_York", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit",
  hourCycle: "h23",
});

// "24 Nov, 13:58:02"
export function dayClock(ms) {
  return DAY_CLOCK.format(ms);
}

// What a person is told who wrote a comma that `parse` does not take.
export const COMMA = "A comma only groups thousands, as in 1,000: write decimals with a point, as in 2.5.";

// "57.5" → 5750, "1,000" → 100000 with two digits; null where it is not such a number. A comma groups thousands and
// does nothing else: whoever means 2.5 by "2,5" must not get 25.
export function parse(text, digits) {
  const found = /^(\d{1,9}|\d{1,3}(?:,\d{3}){1,2})?(?:\.(\d*))?$/.exec(text.trim().replace(/^\$|\s*¢$/g, ""));
  if (!found || (found[1] === undefined && !found[2])) return null;
  const rest = (found[2] ?? "").replace(/0+$/, "");
  if (rest.length > digits) return null;
  return Number((found[1] ?? "0").replaceAll(",", "") + rest.padEnd(digits, "0"));
}

function decimal(units, digits, least) {
  const text = String(units < 0n ? -units : units).padStart(digits + 1, "0");
  const whole = text.slice(0, -digits).replace(/\B(?=(\d{3})+$)/g, ",");
  const rest = text.slice(-digits).replace(/0+$/, "").padEnd(least, "0");
  return `${units < 0n ? MINUS : ""}${whole}${rest ? `.${rest}` : ""}`;
}
