--- The page at /: a conversation with the model in a browser.
---
--- One text without a request to anywhere but this server; what models write is
--- shown as text, never as markup. Light and dark, keyboard (Enter sends, Shift
--- with Enter begins a line, Escape stops), small screens.
local M = {}

--- What the page may do: its own style and script, requests to this server.
M.POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; "
  .. "form-action 'none'; frame-ancestors 'none'"

M.HTML = [==[
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>wane</title>
<style>
:root { color-scheme: light dark; --line: #8886; --user: #6b8afd26; --soft: #8888881f; }
* { box-sizing: border-box; }
body { margin: 0; height: 100dvh; display: flex; flex-direction: column; font: 16px/1.5 system-ui, sans-serif; }
header, form { padding: .6rem 1rem; border-color: var(--line); border-style: solid; border-width: 0 0 1px; }
form { border-width: 1px 0 0; display: flex; gap: .5rem; align-items: end; }
header { display: flex; flex-wrap: wrap; gap: .3rem 1rem; align-items: center; }
header h1 { font-size: 1rem; margin: 0; flex: 1 1 8rem; overflow-wrap: anywhere; }
header label { font-size: .85rem; }
header input { width: 5.5rem; }
main { flex: 1; overflow-y: auto; padding: 1rem; }
article { max-width: 46rem; margin: 0 auto 1rem; padding: .6rem .9rem; border-radius: .6rem; background: var(--soft); }
article.user { background: var(--user); }
article.error { border: 1px solid #c33; }
article h2 { font-size: .75rem; margin: 0; opacity: .7; }
pre, .text { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; font: inherit; }
pre { font-family: ui-monospace, monospace; font-size: .85rem; }
details { font-size: .9rem; opacity: .85; }
textarea { flex: 1; font: inherit; resize: vertical; min-height: 2.8rem; max-height: 40dvh; padding: .5rem; border-radius: .4rem; }
button, input, textarea { font: inherit; color: inherit; background: Canvas; border: 1px solid var(--line); border-radius: .4rem; }
button { padding: .55rem 1rem; cursor: pointer; }
:focus-visible { outline: 2px solid #6b8afd; outline-offset: 1px; }
footer { font-size: .75rem; opacity: .7; text-align: center; padding: 0 1rem .3rem; min-height: 1.3rem; }
</style>
</head>
<body>
<header>
  <h1 id="name">wane</h1>
  <label>temperature <input id="temperature" type="number" min="0" max="2" step="0.1" value="0.8"></label>
  <label>tokens <input id="tokens" type="number" min="1" max="100000" value="512"></label>
  <label>key <input id="key" type="password" autocomplete="off"></label>
  <button id="fresh" type="button">New</button>
</header>
<main id="log" aria-live="polite"></main>
<form id="form">
  <textarea id="box" rows="2" aria-label="Message" placeholder="Message" autofocus></textarea>
  <button id="go">Send</button>
</form>
<footer id="state" role="status"></footer>
<script>
"use strict";
const $ = id => document.getElementById(id);
let messages = [], running = null;
const headers = () => ({ "content-type": "application/json", ...($("key").value ? { authorization: "Bearer " + $("key").value } : {}) });

function add(parent, tag, kind, text) {
  const e = document.createElement(tag);
  if (kind) e.className = kind;
  if (text !== undefined) e.textContent = text;
  parent.append(e);
  return e;
}

function bubble(role) {
  const a = add($("log"), "article", role);
  add(a, "h2", "", role);
  return a;
}

function failed(text) {
  add(bubble("error"), "div", "text", text);
  $("log").scrollTop = $("log").scrollHeight;
}

// The events of an answer, as objects.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const p of parts) {
      if (p === "data: [DONE]") return;
      if (p.startsWith("data: ")) yield JSON.parse(p.slice(6));
    }
  }
}

// Shows an answer as it comes; the message it becomes.
async function show(response, article) {
  const m = { role: "assistant", content: "" };
  let thought, text, calls = [];
  for await (const e of events(response)) {
    if (e.error) throw new Error(e.error.message);
    const d = e.choices[0] && e.choices[0].delta || {};
    if (d.reasoning_content) {
      if (!thought) {
        const box = add(article, "details");
        box.open = true;
        add(box, "summary", "", "reasoning");
        thought = add(box, "div", "text", "");
      }
      thought.textContent += d.reasoning_content;
    }
    if (d.content) {
      text = text || add(article, "div", "text", "");
      text.textContent = m.content += d.content;
    }
    for (const c of d.tool_calls || []) {
      const call = calls[c.index] = calls[c.index] || { box: add(article, "pre", "", ""), text: "" };
      call.text += c.function.name ? c.function.name + " " : "";
      call.text += c.function.arguments || "";
      call.box.textContent = call.text;
    }
    if (e.usage) $("state").textContent = e.usage.prompt_tokens + " + " + e.usage.completion_tokens + " tokens";
    $("log").scrollTop = $("log").scrollHeight;
  }
  return m;
}

async function send() {
  const text = $("box").value.trim();
  if (!text || running) return;
  $("box").value = "";
  messages.push({ role: "user", content: text });
  add(bubble("user"), "div", "text", text);
  running = new AbortController();
  $("go").textContent = "Stop";
  $("state").textContent = "...";
  const article = bubble("assistant");
  try {
    const response = await fetch("/v1/chat/completions", { method: "POST", headers: headers(), signal: running.signal,
      body: JSON.stringify({ messages, stream: true, stream_options: { include_usage: true },
        temperature: +$("temperature").value, max_tokens: +$("tokens").value }) });
    if (!response.ok) throw new Error((await response.json()).error.message);
    messages.push(await show(response, article));
  } catch (e) {
    if (e.name === "AbortError") {
      const shown = [...article.querySelectorAll(":scope > .text")].map(t => t.textContent).join("");
      messages.push({ role: "assistant", content: shown });
      $("state").textContent = "stopped";
    } else {
      messages.pop();
      article.remove();
      failed(e.message);
      $("state").textContent = "";
    }
  }
  running = null;
  $("go").textContent = "Send";
}

async function name() {
  try {
    const r = await fetch("/v1/models", { headers: headers() });
    const m = r.ok && (await r.json()).data[0];
    $("name").textContent = m ? m.id + " (" + m.meta.architecture + ", " + m.meta.n_ctx + " tokens)" : "wane: this server wants a key";
  } catch (e) { $("name").textContent = "wane: the server does not answer"; }
}

$("form").addEventListener("submit", e => { e.preventDefault(); running ? running.abort() : send(); });
$("box").addEventListener("keydown", e => {
  if (e.key === "Enter" && !e.shiftKey && !e.isComposing) { e.preventDefault(); send(); }
});
document.addEventListener("keydown", e => { if (e.key === "Escape" && running) running.abort(); });
$("fresh").addEventListener("click", () => {
  if (running) running.abort();
  messages = [];
  $("log").replaceChildren();
  $("state").textContent = "";
  $("box").focus();
});
$("key").addEventListener("change", name);
name();
</script>
</body>
</html>
]==]

--- GET /
function M.show(_, x) x:text(200, "text/html; charset=utf-8", M.HTML, { ["content-security-policy"] = M.POLICY }) end

return M
