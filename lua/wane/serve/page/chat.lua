--- The page's conversation: what it says and hears, as the script of a browser.
return [==[
let messages = [], running = null;
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
]==]
