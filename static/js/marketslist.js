// The list of markets: its best prices are live.

import "./page.js";
import { followTops } from "./tops.js";

followTops(document.querySelector("[data-watch]"));
