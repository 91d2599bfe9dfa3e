// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A report as one page of HTML that needs nothing else: no server, no network. What
 * is in records is hostile. It stands in the page as text with all of HTML's own
 * characters escaped, and in data that no parser takes for markup; the page's script
 * puts it on the screen as text only. A policy in the page lets no other script run,
 * should all of that be wrong.
 */
#include "report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cgroups.h"
#include "tool.h"

/* Records on a page; a browser is slow with more. */
#define RECORDS_MAX 20000

/*
 * The digest in the policy is that of this text, from after the tag to before the
 * next: tests/unit/lib/test_report.py says the right one.
 */
#define SCRIPT_DIGEST "EXz3+BPhBIiRpVf3KFai88hCXm8ECAnAF6aZbzFCiHc="
static const char script[] =
	"\n\"use strict\";\n"
	"const rows = JSON.parse(document.getElementById(\"data\").textContent);\n"
	"const names = [\"emerg\", \"alert\", \"crit\", \"err\", \"warning\", \"notice\", \"info\", \"debug\"];\n"
	"const body = document.getElementById(\"rows\");\n"
	"const channels = new Map();\n"
	"function cell(row, text) { const td = document.createElement(\"td\"); td.textContent = text; row.append(td); }\n"
	"for (const r of rows) {\n"
	"  const row = document.createElement(\"tr\");\n"
	"  row.className = \"s\" + r.severity;\n"
	"  if (r.lost) { const gap = document.createElement(\"tr\"); const td = document.createElement(\"td\");\n"
	"    td.colSpan = 5; td.textContent = \"# missing \" + r.lost + \" of channel \" + r.channel;\n"
	"    gap.className = \"gap\"; gap.append(td); body.append(gap); r.gap = gap; }\n"
	"  cell(row, r.time); cell(row, names[r.severity]); cell(row, r.channel); cell(row, r.writer); cell(row, r.text);\n"
	"  body.append(row); r.row = row;\n"
	"  if (!channels.has(r.channel)) channels.set(r.channel, true);\n"
	"}\n"
	"const box = document.getElementById(\"channels\");\n"
	"for (const name of channels.keys()) {\n"
	"  const label = document.createElement(\"label\"), input = document.createElement(\"input\");\n"
	"  input.type = \"checkbox\"; input.checked = true; input.value = name;\n"
	"  input.addEventListener(\"change\", () => { channels.set(name, input.checked); filter(); });\n"
	"  label.append(input, name); box.append(label);\n"
	"}\n"
	"function filter() {\n"
	"  const worst = Number(document.getElementById(\"severity\").value);\n"
	"  const words = document.getElementById(\"search\").value.toLowerCase();\n"
	"  let shown = 0;\n"
	"  for (const r of rows) {\n"
	"    const there = channels.get(r.channel);\n"
	"    const wanted = there && r.severity <= worst &&\n"
	"      (!words || (r.text + \" \" + r.writer).toLowerCase().includes(words));\n"
	"    r.row.hidden = !wanted; if (r.gap) r.gap.hidden = !there;\n"
	"    shown += wanted ? 1 : 0;\n"
	"  }\n"
	"  document.getElementById(\"shown\").textContent = shown + \" of \" + rows.length + \" records\";\n"
	"}\n"
	"document.getElementById(\"severity\").addEventListener(\"change\", filter);\n"
	"document.getElementById(\"search\").addEventListener(\"input\", filter);\n"
	"document.getElementById(\"filters\").hidden = false;\n"
	"filter();\n";

static const char style[] =
	":root { color-scheme: light dark; font-family: system-ui, sans-serif; }\n"
	"body { margin: 1.5rem auto; max-width: 80rem; padding: 0 1rem; }\n"
	"dl { display: grid; grid-template-columns: max-content auto; gap: .3rem 1rem; }\n"
	"dt { font-weight: bold; } dd { margin: 0; } #cause { font-size: 1.2rem; }\n"
	"pre, table { font-family: ui-monospace, monospace; font-size: .85rem; }\n"
	"pre { overflow-x: auto; padding: .5rem; border: 1px solid #8886; }\n"
	"table { border-collapse: collapse; width: 100%; } td, th { padding: .1rem .5rem; text-align: left;\n"
	"  vertical-align: top; white-space: pre-wrap; overflow-wrap: anywhere; }\n"
	"td:first-child, td:nth-child(2) { white-space: nowrap; }\n"
	".s0, .s1, .s2 { color: #d00; font-weight: bold; } .s3 { color: #d00; } .s4 { color: #a60; }\n"
	".s5 { font-weight: bold; } .s7, .gap { opacity: .6; }\n"
	"#filters label { margin-right: .8rem; }\n";

/* Text between tags, or in an attribute in double quotes. */
static void put_text(FILE *out, const char *text, size_t len)
{
	for (; len; text++, len--)
		switch (*text) {
		case '&':
			fputs("&amp;", out);
			break;
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		case '\'':
			fputs("&#39;", out);
			break;
		default:
			fputc(*text, out);
		}
}

/* What @print writes, escaped. */
static void put_printed(FILE *out, void (*print)(FILE *out, const struct boot *boot),
			const struct boot *boot)
{
	char *text = NULL;
	size_t len = 0;
	FILE *memory = open_memstream(&text, &len);

	if (!memory)
		return;
	print(memory, boot);
	fclose(memory);
	put_text(out, text, len);
	free(text);
}

/* Without control characters, and in UTF-8 whatever it was: as in a terminal. */
static char *printable(const char *bytes, size_t n)
{
	char *text = NULL;
	size_t len = 0;
	FILE *memory = open_memstream(&text, &len);

	if (!memory)
		return NULL;
	print_escaped(memory, bytes, n);
	fclose(memory);
	return text;
}

static void put_item(void *arg, const char *text)
{
	FILE *out = arg;
	char *plain = printable(text, strlen(text));

	if (!plain)
		return;
	fputs("<li>", out);
	put_text(out, plain, strlen(plain));
	fputs("</li>\n", out);
	free(plain);
}

static void put_trace(FILE *out, const char *text)
{
	char *plain;
	size_t len;

	for (; *text; text += len + (text[len] != '\0')) {
		len = strcspn(text, "\n");
		plain = printable(text, len);
		if (!plain)
			return;
		put_text(out, plain, strlen(plain));
		fputc('\n', out);
		free(plain);
	}
}

static void add_text(struct json_object *object, const char *key, const char *bytes, size_t n)
{
	char *text = printable(bytes, n);

	if (text)
		json_set_text(object, key, text);
	free(text);
}

/* JSON has "<" in strings only: there it can be escaped, and no tag can begin. */
static void put_data(FILE *out, const char *json)
{
	for (; *json; json++)
		if (strchr("<>&", *json))
			fprintf(out, "\\u%04x", (unsigned char)*json);
		else
			fputc(*json, out);
}

static void put_record(FILE *out, const struct kept *kept)
{
	const struct flightrec_record *record = kept->record;
	struct json_object *row = json_object_new_object();
	const struct container *container = cgroups_container(flightrec_cgroup(record));
	char when[CLOCK_TEXT_MAX], writer[sizeof(record->comm) + 16 + CONTAINER_LABEL_MAX];
	size_t writer_len;
	size_t comm = strnlen(record->comm, sizeof(record->comm));
	const char *text = flightrec_payload(record);
	size_t len = record->len;

	clock_text(when, CLOCK_WALL, record->boot_ns, record->wall_ns, 0);
	snprintf(writer, sizeof(writer), "%.*s[%u]", (int)comm, record->comm, record->tgid);
	if (record->flags & FLIGHTREC_F_INTERRUPT)
		strcpy(writer, "[interrupt]");
	if (container) {
		strcat(writer, " in ");
		writer_len = strlen(writer);
		container_label(container, writer + writer_len, sizeof(writer) - writer_len);
	}
	if (len && text[len - 1] == '\n')
		len--;
	json_set_text(row, "time", when);
	json_set_number(row, "severity", record->severity & 7);
	json_set_text(row, "channel", kept->channel);
	add_text(row, "writer", writer, strlen(writer));
	add_text(row, "text", text, len);
	json_set_number(row, "lost", record->lost);
	put_data(out, json_object_to_json_string_ext(row, JSON_STYLE));
	json_object_put(row);
}

static void put_head(FILE *out, const struct boot *boot)
{
	struct json_object *end = report_end(boot);
	const char *trouble = json_text(end, "trouble");
	const char *kernel = json_text(boot->json, "kernel");

	fprintf(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
		"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
		"style-src 'unsafe-inline'; script-src 'sha256-%s'\">\n"
		"<meta name=\"viewport\" content=\"width=device-width\">\n"
		"<title>How boot %.8s ended</title>\n<style>\n%s</style>\n</head>\n<body>\n"
		"<h1>How boot %s ended</h1>\n<dl>\n<dt>Cause</dt><dd id=\"cause\">",
		SCRIPT_DIGEST, boot->name, style, boot->name);
	put_printed(out, report_cause, boot);
	if (*trouble) {
		fputs("</dd>\n<dt>Before it</dt><dd>", out);
		put_trace(out, trouble);
	}
	fputs("</dd>\n<dt>When</dt><dd>", out);
	put_printed(out, report_when, boot);
	fputs("</dd>\n", out);
	if (*kernel) {
		fputs("<dt>Kernel</dt><dd>", out);
		put_text(out, kernel, strlen(kernel));
		fputs("</dd>\n", out);
	}
	fputs("</dl>\n<p>Nothing proves that what is left of a crash is genuine.</p>\n", out);
}

static void put_filters(FILE *out)
{
	size_t i;

	fputs("<div id=\"filters\" hidden>\n<span id=\"channels\"></span>\n"
	      "<label>severity at least <select id=\"severity\">", out);
	for (i = 0; i < 8; i++)
		fprintf(out, "<option value=\"%zu\"%s>%s</option>", i, i == 7 ? " selected" : "",
			severity_name(i));
	fputs("</select></label>\n<label>text <input id=\"search\" type=\"search\"></label>\n"
	      "<span id=\"shown\"></span>\n</div>\n", out);
}

int report_html(FILE *out, const struct boot *boot)
{
	const char *trace = json_text(report_end(boot), "backtrace");
	struct kept **tail;
	int n, i;

	report_names(boot);
	n = archive_tail(boot->name, RECORDS_MAX, &tail);

	if (n < 0)
		return n;
	put_head(out, boot);
	fputs("<h2>What is missing</h2>\n<ul id=\"missing\">\n", out);
	report_missing(boot, put_item, out);
	fputs("</ul>\n<h2>Records of all channels</h2>\n", out);
	if ((uint64_t)n < json_number(report_records(boot), "count"))
		fprintf(out, "<p>The newest %d.</p>\n", n);
	put_filters(out);
	fputs("<table><thead><tr><th>time</th><th>severity</th><th>channel</th><th>writer</th>"
	      "<th>text</th></tr></thead><tbody id=\"rows\"></tbody></table>\n"
	      "<noscript><p>The records are shown by a script: allow it, or use \"flightrec report\".</p>"
	      "</noscript>\n", out);
	if (*trace) {
		fputs("<h2>The kernel's backtrace</h2>\n<pre id=\"backtrace\">", out);
		put_trace(out, trace);
		fputs("</pre>\n", out);
	}
	fputs("<script type=\"application/json\" id=\"data\">[", out);
	for (i = 0; i < n; i++) {
		fputs(i ? ",\n" : "", out);
		put_record(out, tail[i]);
	}
	fprintf(out, "]</script>\n<script>%s</script>\n</body>\n</html>\n", script);
	archive_tail_free(tail, n);
	return 0;
}
