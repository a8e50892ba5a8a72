--- Calibration text: documents, pages, settings and logs, written for wane.
return [==[
# Sourdough, simply

A loaf needs four things: flour, water, salt, and **time**. This page is for people who have never baked before.

## What you need

| item | amount | remark |
|:-----|-------:|--------|
| bread flour | 500 g | or 450 g and 50 g of rye |
| water | 350 ml | at about 26 °C |
| starter | 100 g | fed 6 to 10 hours ago |
| salt | 10 g | fine sea salt |

1. Mix flour and water and let it rest for an hour (*autolyse*).
2. Add starter and salt; fold every 30 minutes, four times.
3. Shape it, put it in a basket, cover it, and leave it in the fridge over night.
4. Bake at 240 °C: 25 minutes with the lid on, 20 without.

> If the crumb is dense, the dough had too little time; if it is flat, too much.

See also [the chapter on flour](flour.md#protein) and the `notes/` directory. Questions? Open an issue.

```console
$ ls -l recipes
total 12
-rw-r--r-- 1 anna users 1834 Mar  4 09:12 rye.md
-rw-r--r-- 1 anna users 2210 Mar  9 18:40 sourdough.md
```

<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Opening hours</title>
  <link rel="stylesheet" href="/css/main.css">
  <style>
    body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 40rem; color: #222; }
    .closed { opacity: .5; text-decoration: line-through; }
    @media (prefers-color-scheme: dark) { body { background: #111; color: #ddd; } }
  </style>
</head>
<body>
  <h1>Opening hours</h1>
  <table>
    <tr><th>Monday</th><td class="closed">closed</td></tr>
    <tr><th>Tuesday &ndash; Friday</th><td>9:00&nbsp;&ndash;&nbsp;18:00</td></tr>
    <tr><th>Saturday</th><td>10:00&nbsp;&ndash;&nbsp;14:00</td></tr>
  </table>
  <form action="/subscribe" method="post">
    <label>E-mail <input type="email" name="email" required></label>
    <button type="submit">Subscribe</button>
  </form>
</body>
</html>

{
  "name": "weather-station",
  "version": "1.4.2",
  "sensors": [
    {"id": "t1", "kind": "temperature", "unit": "celsius", "interval": 60, "enabled": true},
    {"id": "h1", "kind": "humidity", "unit": "percent", "interval": 60, "enabled": true},
    {"id": "w1", "kind": "wind", "unit": "m/s", "interval": 5, "enabled": false, "offset": -0.25}
  ],
  "location": {"lat": 52.3702, "lon": 4.8952, "altitude": null},
  "upload": {"every": "15m", "retries": 3, "headers": {"Accept": "application/json"}}
}

# deploy.yml
name: deploy
on:
  push:
    branches: [main]
    paths-ignore:
      - "docs/**"
jobs:
  build:
    runs-on: linux
    timeout-minutes: 20
    env:
      MODE: release
    steps:
      - name: Check out
        uses: checkout@v4
      - name: Test
        run: |
          make test
          make package VERSION=${{ ref_name }}

[package]
name = "ledger"
version = "0.3.1"
edition = "2021"
description = "Double-entry bookkeeping in plain text"

[dependencies]
chrono = { version = "0.4", default-features = false }
serde = { version = "1", features = ["derive"] }

[profile.release]
lto = true
codegen-units = 1

\documentclass[11pt]{article}
\usepackage{amsmath}
\begin{document}
\section{The normal equations}
Let $A \in \mathbb{R}^{m \times n}$ have full column rank. The vector $x$ that minimises
$\lVert Ax - b \rVert_2^2$ satisfies
\begin{equation}
  A^\top A\, x = A^\top b, \qquad x = (A^\top A)^{-1} A^\top b .
\end{equation}
\textbf{Proof.} Setting the gradient $2A^\top(Ax - b)$ to zero gives the claim; the Hessian $2A^\top A$ is
positive definite, so the stationary point is the only minimum. $\square$
\end{document}

<?xml version="1.0" encoding="UTF-8"?>
<library xmlns:dc="urn:example:terms" updated="2022-11-05T08:30:00Z">
  <book isbn="978-3-16-148410-0">
    <dc:title>On Small Things</dc:title>
    <dc:creator>M. Adeyemi</dc:creator>
    <price currency="EUR">18.90</price>
    <tags><tag>essays</tag><tag>nature</tag></tags>
  </book>
</library>

.TH COUNTW 1 "June 2023" "countw 1.2" "User Commands"
.SH NAME
countw \- count words in files
.SH SYNOPSIS
.B countw
[\fB\-n\fR \fIN\fR]
[\fB\-\-min\-length\fR \fIL\fR]
.IR file ...
.SH DESCRIPTION
.B countw
reads each
.I file
and prints the most common words, one on a line, with their number.
.TP
.BR \-n ", " \-\-top =\fIN\fR
Print the
.I N
most common words instead of ten.
.SH EXIT STATUS
0 on success, 1 when a file cannot be read.

2023-06-14 07:12:03,418 INFO  [main] server.Boot - listening on 127.0.0.1:8443 (tls=on, workers=8)
2023-06-14 07:12:09,002 WARN  [worker-3] cache.Store - entry 0x7f2a41c0 expired 14s ago, refreshing
2023-06-14 07:12:09,377 ERROR [worker-5] db.Pool - connection refused: postgres://ledger@db-2:5432/main (attempt 2 of 5)
2023-06-14 07:12:10,381 INFO  [worker-5] db.Pool - connected after 1004 ms
Traceback (most recent call last):
  File "/srv/app/tasks.py", line 88, in run
    result = handler(job.payload)
  File "/srv/app/handlers/mail.py", line 41, in send
    raise ValueError(f"no recipient in message {message_id}")
ValueError: no recipient in message 5f1c9e

countw (1.2-1) unstable; urgency=medium

  * New upstream release.
  * debian/control: bump Standards-Version to 4.6.2, no changes needed.
  * debian/patches/fix-locale.patch: dropped, applied upstream.
  * Build with hardening=+all (Closes: #1023456).

 -- Robin Example <robin@example.org>  Sat, 17 Jun 2023 11:05:42 +0200

diff --git a/src/count.c b/src/count.c
index 3f1d2ab..9c07e51 100644
--- a/src/count.c
+++ b/src/count.c
@@ -17,7 +17,8 @@ static size_t next_word(const char *p, const char *end)
-  while (p < end && isalpha(*p))
+  while (p < end && isalpha((unsigned char)*p))
     p++;
+  /* a trailing apostrophe is not part of the word */
   return (size_t)(p - start);
 }
]==]
