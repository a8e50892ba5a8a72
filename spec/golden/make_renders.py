"""Writes spec/golden/renders.jsonl anew with jinja2 3.1.6 (pip install jinja2),
in the settings that Hugging Face's chat templates have: python make_renders.py"""
import copy
import json
import os
from jinja2 import ext
from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

VARS = {
    "s": "Hello World", "t": "  pad  ", "u": "Gr\u00fc\u00dfe \u4f60 \U0001f600", "n": 7, "f": 2.5, "no": None, "yes": True,
    "list": [3, 1, 2], "words": ["b", "A", "c"], "map": {"x": 1, "y": "two", "z": [1, 2]},
    "messages": [
        {"role": "system", "content": "Be kind."}, {"role": "user", "content": " Hi <there> & \"you\"\n"},
        {"role": "assistant", "content": "Hello!", "tool_calls": [{"function": {"name": "add", "arguments": {"a": 1, "b": [2, None]}}}]},
        {"role": "tool", "content": "3"}, {"role": "user", "content": "Thanks"},
    ],
    "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True,
    "tools": [{"type": "function", "function": {"name": "add", "description": "Adds <two>", "parameters": {"type": "object"}}}],
}

FILTERS = """upper lower title capitalize trim length list first last reverse|list sort unique|list string tojson tojson(indent=2)
replace("l","L") default("d") int float abs round join(",") escape urlencode wordcount center(20) safe items|list dictsort max min sum
select("odd")|list reject("odd")|list map("upper")|list batch(2)|list slice(2)|list indent truncate(5) format""".split()
VALUES = "s t u n f no yes list words map nope".split()
TESTS = "defined none string number mapping sequence iterable odd even true boolean integer float upper lower".split()
EXPRESSIONS = """s[1:4] s[::-1] s[-3:] list[-1] list[1:] s~n 7//2 -7//2 7%3 -7%3 2**10 1/4 n>5 and f<3 not n n if no else f
"ell" in s 3 in list "x" in map map.x map["y"] map.get("q","d") map.items()|list map.keys()|list s.split(" ") s.upper() s.strip("Hd")
s.startswith("He") t.strip() t.lstrip()~"|" t.rstrip()~"|" s.replace("o","0") s.find("W") "%s-%d"|format(s,n) [1,2]+[3] (1,2) {"a":1}
1==1.0 "a"<"b" none is none n is divisibleby(7) [1,[2,3]]|tojson range(5)|list range(2,9,3)|list 1_000 1e3 0.1+0.2 1e16 100000000000000000000
"a\\nb" 'it''s' "tab\\t" true~false none~"" {"b":1,"a":{"c":[]}}|tojson s|length>3 list|sum/2 messages[1].content|trim messages|length
s.title() "x"*3 [0]*3 namespace(a=1).a cycler s.missing nope.missing list.foo""".split("\n")
TEMPLATES = [
    "{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}{% if not loop.last %};{% endif %}{% endfor %}",
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}U:{{ m['content'] }}{% elif m.role == 'assistant' %}A:{{ m.content }}{{ eos_token }}{% else %}{{ m.role | upper }}{% endif %}{% endfor %}{% if add_generation_prompt %}A:{% endif %}",
    "{%- for m in messages -%}\n  {{ loop.index }}/{{ loop.length }} {{ loop.first }} {{ loop.previtem.role if loop.previtem }}\n{%- endfor %}",
    "{% set ns = namespace(n=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.n = ns.n + 1 %}{% endif %}{% endfor %}{{ ns.n }}",
    "{% macro line(m, sep=': ') %}{{ m.role }}{{ sep }}{{ m.content }}{% endmacro %}{% for m in messages %}{{ line(m) }}|{{ line(m, sep='=') }}{% endfor %}",
    "{% for t in tools %}{{ t | tojson(indent=4) }}{% endfor %}", "{{ tools | tojson }}", "{{ messages[2].tool_calls[0].function | tojson }}",
    "{% for k, v in map.items() %}{{ k }}={{ v }},{% endfor %}", "{% for m in messages if m.role != 'tool' %}{{ loop.index0 }}{{ m.role }} {% else %}none{% endfor %}",
    "{% for i in range(9) %}{% if i == 3 %}{% continue %}{% endif %}{% if i == 6 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% if messages[0].role == 'system' %}{% set sys = messages[0].content %}{% set rest = messages[1:] %}{% endif %}{{ sys }}/{{ rest | length }}",
    "  {% if yes %}\nx\n  {% endif %}\ny\n", "{# a comment #}a{#- b -#} c", "{% raw %}{{ not }} {% this %}{% endraw %}",
    "{{ messages | map(attribute='role') | join(' ') }}", "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}",
    "{{ messages | rejectattr('tool_calls') | map(attribute='content') | list }}", "{{ raise_exception('no ' ~ s) }}", "{{ undefined_function() }}",
    "{% for m in messages %}{{ 'a' if loop.index is odd else 'b' }}{{ loop.cycle('x', 'y', 'z') }}{% endfor %}", "{% filter upper %}abc {{ s }}{% endfilter %}",
    "{% set x %}block {{ n }}{% endset %}{{ x | trim }}!", "{% call(v) [1][0] %}{% endcall %}", "{{ 'unclosed }}", "{% for x in list %}{{ x }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{{ messages[-1]['content'] + eos_token }}", "{{ (messages | first).role }}", "{% if tools is defined and tools %}T{% endif %}{% if nope is not defined %}N{% endif %}",
]


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[ext.loopcontrols])
    env.filters["tojson"] = lambda x, ensure_ascii=False, indent=None, separators=None, sort_keys=False: json.dumps(
        x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise TemplateError(message)
    env.globals["raise_exception"] = raise_exception
    return env


def main():
    sources = [f"{{{{ {v}|{f} }}}}" for v in VALUES for f in FILTERS]
    sources += [f"{{{{ {v} is {t} }}}}" for v in VALUES for t in TESTS]
    for line in EXPRESSIONS:  # (a blank within one cuts it: still something to agree about)
        sources += ["{{ " + e + " }}" for e in line.split(" ")]
    sources += TEMPLATES
    env, here = environment(), os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "renders.jsonl"), "w", encoding="utf-8") as f:
        f.write(json.dumps(VARS, ensure_ascii=False) + "\n")
        for source in sources:
            try:
                text = env.from_string(source).render(**copy.deepcopy(VARS))  # indent changes lists in place
            except Exception:
                text = None
            if text is None or " at 0x" not in text:
                f.write(json.dumps([source, text], ensure_ascii=False) + "\n")


main()
