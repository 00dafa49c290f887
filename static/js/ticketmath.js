// What an order costs, may cost in fees, may lose and may pay. Pure, in whole numbers: prices $0.0001, counts 0.01
// contract, money BigInt of $0.000001. The server's own sums are the ones that are confirmed.

const DOLLAR = 10_000;
const FEE = 7n; // hundredths: 0.07 × multiplier × role × C × P × (1 − P)
const CENT = 10_000n; // micros
const ROLES = { quadratic: [4n, 0n], quadratic_with_maker_fees: [4n, 1n], quadratic_with_combo_maker_fees: [4n, 2n] };

// What the exchange sees: bid at a YES price, or ask.
export function onTheWire({ action, side, price }) {
  const isBid = (action === "buy") === (side === "yes");
  return { wireSide: isBid ? "bid" : "ask", wirePrice: side === "yes" ? price : DOLLAR - price };
}

// The nearest of `prices`, lowest first, below a price and above it; undefined where there is none.
export function around(prices, price) {
  return [prices.filter((one) => one < price).at(-1), prices.find((one) => one > price)];
}

// {cost, fee, loss, pays, outcome}; null without price or count. `fees` = {type, multiplierMicros, isWaived}.
export function sums({ action, side, price, count, isPostOnly }, fees) {
  if (!price || !count) return null;
  const { wireSide, wirePrice } = onTheWire({ action, side, price });
  const paid = wireSide === "bid" ? wirePrice : DOLLAR - wirePrice;
  const cost = BigInt(paid) * BigInt(count);
  const fee = mostFee({ wireSide, wirePrice, count, isPostOnly }, fees);
  return { cost, fee, loss: fee === null ? null : cost + fee, pays: BigInt(DOLLAR) * BigInt(count), outcome: wireSide === "bid" ? "yes" : "no" };
}

// The fee peaks at 50¢, and a fill may be better than the limit: what is charged at most, up to the next cent.
function mostFee({ wireSide, wirePrice, count, isPostOnly }, { type, multiplierMicros, isWaived }) {
  if (isWaived) return 0n;
  const roles = ROLES[type];
  if (!roles) return null; // a fee table that we do not know is not guessed
  const half = DOLLAR / 2;
  const dearest = isPostOnly ? wirePrice : wireSide === "bid" ? Math.min(wirePrice, half) : Math.max(wirePrice, half);
  const role = isPostOnly ? roles[1] : roles[0];
  const up = FEE * BigInt(multiplierMicros) * role * BigInt(count) * BigInt(dearest) * BigInt(DOLLAR - dearest);
  const down = 100n * 1_000_000n * 4n * 100n; // hundredths, micros of the multiplier, quarters, hundredths of contract
  const micros = ceil(up, down * 100n); // price × price has $1e-8: down to micros
  return ceil(micros, CENT) * CENT;
}

function ceil(up, down) {
  return (up + down - 1n) / down;
}
