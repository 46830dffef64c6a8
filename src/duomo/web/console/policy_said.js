// @ts-check
/** What the server says of a policy's text, in the reader's language. It writes English; a sentence unknown here stays so. */
import { desk } from "./desk.js";

/** What stands where: "row 3: do" -> 第 3 条规则的 do. @param {string} text */
const place = (text) => text.replace(/^row (\d+): (.+)$/, "第 $1 条规则的 $2").replace(/^row (\d+)$/, "第 $1 条规则").replace(/^the policy$/, "策略");

/** @type {Record<string, string>} */
const CAME = { "a mapping": "一组键值", "a list": "一个列表", nothing: "空的", empty: "空的" };
/** @param {string} text */
const came = (text) => CAME[text] ?? quoted(text);
/** @param {string} text */
const quoted = (text) => text.replace(/^(['"])(.*)\1$/s, "“$2”");
const names = (/** @type {string} */ text) => text.replaceAll(", ", "、");

/** @type {[RegExp, string | ((...found: string[]) => string)][]} */
const ALLOWED = [
  [/^a mapping$/, "一组键值"],
  [/^names$/, "名称"],
  [/^a text of at most (\d+) characters$/, (_, n) => `不超过 ${n} 个字的文字`],
  [/^a (whole )?number (from|above) (\S+) to (below )?(\S+)$/, (_, whole, from, low, below, high) => `${from === "above" ? "大于" : "不小于"} ${low}、${below ? "小于" : "不大于"} ${high} 的${whole ? "整数" : "数"}`],
  [/^a comparison with a number, such as (.+) or (.+) \(in quotation marks where it begins with >\)$/, (_, one, other) => `与数字比较，例如 ${one} 或 ${other}（以 > 开头时要加引号）`],
  [/^a list of rows\. The shortest is\n/, "规则列表，最短的写法是\n"],
];

/** What may stand there, with the nearest name. @param {string} text */
function allowed(text) {
  const [, listed, near] = /^(.*?)(?:\. Did you mean (.+)\?|\.)?$/s.exec(text) ?? ["", text, ""];
  const mould = ALLOWED.find(([pattern]) => pattern.test(listed));
  const said = mould ? listed.replace(mould[0], /** @type {any} */ (mould[1])) : names(listed.replace("; then ", "；以及 "));
  return `${said}。${near ? `是不是 ${near}？` : ""}`;
}

/** @type {[RegExp, (...found: string[]) => string][]} */
const MOULDS = [
  [/^(.+?) is (a mapping|a list|nothing|empty|(['"]).*?\3); allowed: (.+)$/s, (_, where, it, __, list) => `${place(where)} 是${came(it)}，可以是：${allowed(list)}`],
  [/^(.+?) knows no (?:column )?((['"]).+\3); allowed: (.+)$/s, (_, where, it, __, list) => `${place(where)} 没有${quoted(it)}这一项，可以是：${allowed(list)}`],
  [/^(.+?) (?:holds|has) (.+?)(?: as a key)?; allowed: names$/, (_, where, it) => `${place(where)} 里有${came(it)}，应为名称。`],
  [/^(.+?) is an empty list; allowed: names$/, (_, where) => `${place(where)} 是空列表，应为名称。`],
  [/^(.+?) holds (.+) twice$/, (_, where, it) => `${place(where)} 里${quoted(it)}重复了。`],
  [/^(.+) stands here and in line (\d+); keep one$/, (_, name, line) => `${name} 在这里和第 ${line} 行重复，请保留一处。`],
  [/^(.+) does not say what to do; add do:/, (where) => `${place(/^row \d+/.exec(where)?.[0] ?? "")}没有写怎么处理，请加上 do: answer、clarify 或 hand_over。`],
  [/^(row \d+): there is no team '(.+)'; teams: (.+?)\.(?: Did you mean (.+)\?)?$/, (_, where, team, teams, near) => `${place(where)}：没有团队“${team}”。团队有：${names(teams)}。${near ? `是不是 ${near}？` : ""}`],
  [/^(row \d+): team '(.+)' stands in no list; add (.+)$/, (_, where, team, add) => `${place(where)}：团队“${team}”没有列出，请加上 ${add}。`],
  [/^(.+?): clarify_from (\S+) lies above answer_from (\S+); swap them$/, (_, where, low, high) => `${place(where)}：clarify_from ${low} 高于 answer_from ${high}，请对调。`],
  [/^(.+) is (.+), which no number is$/, (_, where, it) => `${place(where)} 是${quoted(it)}，没有数字能符合。`],
  [/^(.+) holds names and `not` names;/, (where) => `${place(where.split(" holds ")[0])} 混用了名称和 not，请统一。`],
  [/^the last row has conditions \((.+)\), so some turns fit no row;/, (_, list) => `最后一条规则有条件（${names(list)}），有的对话不符合任何规则。请再加一条只有 do: answer 或 do: hand_over 的规则。`],
  [/^row (\d+) \((.+)\) would (.+) where the wish is (.+); such a customer gets a person\. Put a row (`.+`) before it$/, (_, n, name, what, wish, row) => `第 ${n} 条规则“${name}”会在诉求为 ${wish.replaceAll(" or ", " 或 ")} 时 ${what}；这样的顾客必须转人工。请在它前面加一条 ${row}。`],
  [/^row (\d+) \((.+)\) never decides: row (\d+) \((.+)\) fits first$/, (_, n, name, m, first) => `第 ${n} 条规则“${name}”不会生效：第 ${m} 条“${first}”总是先符合。`],
  [/^rows (\d+) and (\d+) are both called (.+?)(?:;.*)?$/, (_, n, m, name) => `第 ${n} 条和第 ${m} 条规则都叫“${name}”。`],
  [/^no article has the id or topic (.+)$/, (_, listed) => `没有编号或主题为 ${names(listed)} 的文章。`],
  [/^there is no (intent|urgency) (.+), so what asks for it never fits\.(?: Did you mean (.+)\?)?$/, (_, what, listed, near) => `没有${what === "intent" ? "意图" : "紧急程度"} ${names(listed)}，以它为条件的规则不会符合。${near ? `是不是 ${near}？` : ""}`],
  [/^the head (\S+) has no label (.+), so what asks for it never fits\.(?: Did you mean (.+)\?)?$/, (_, head, listed, near) => `模型的 ${head} 没有标签 ${names(listed)}，以它为条件的规则不会符合。${near ? `是不是 ${near}？` : ""}`],
  [/^the active model has no head (.+), so what asks for it never fits\.(?: Did you mean (.+)\?)?$/, (_, listed, near) => `使用中的模型没有 ${names(listed)} 这一项输出，以它为条件的规则不会符合。${near ? `是不是 ${near}？` : ""}`],
  [/^no row hands over to (.+)$/, (_, teams) => `没有规则转给：${names(teams)}`],
  [/^table is missing: what to do, row by row\. The shortest is\n(.+)$/s, (_, short) => `缺少 table：逐条写明怎么处理。最短的写法是\n${short}`],
  [/^the file is empty; the shortest is\n(.+)$/s, (_, short) => `文本是空的。最短的写法是\n${short}`],
  [/^teams\.(.+): (.+) belongs to (.+) already; keep one$/, (_, team, intent, other) => `teams.${team}：${intent} 已经属于 ${other}，请保留一处。`],
  [/^a tab at the start of the line/, () => "行首是制表符；YAML 用空格缩进。"],
  [/^not YAML: (.+)$/s, (_, why) => `不是有效的 YAML：${why}`],
];

/** @param {string} text as the server wrote it */
export function mistakeText(text) {
  if (desk.language !== "zh") return text;
  for (const [mould, say] of MOULDS) {
    const found = mould.exec(text);
    if (found) return say(...(found.length > 1 ? found : [text]));
  }
  return text;
}
