package web

import (
	"bytes"
	"html/template"
	"regexp"
	"strings"
	"sync"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	gmtext "github.com/yuin/goldmark/text"
)

// newMarkdown returns the converter. It leaves raw HTML out, which is its default.
var newMarkdown = sync.OnceValue(func() goldmark.Markdown { return goldmark.New() }) //nolint:gochecknoglobals // built once

// labels begin a paragraph of their own in a section of the runbook.
var labels = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^(Cause|Check|Fix):`) }) //nolint:gochecknoglobals // built once

// markdown renders Markdown of the runbook. Links to other files have no meaning on a page, so only
// their texts are left.
func markdown(source string) template.HTML {
	source = labels().ReplaceAllString(source, "\n**$1:**")
	text := []byte(source)
	doc := newMarkdown().Parser().Parse(gmtext.NewReader(text))
	var links []*ast.Link
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if link, ok := n.(*ast.Link); ok && entering && !strings.HasPrefix(string(link.Destination), "https://") {
			links = append(links, link)
		}
		return ast.WalkContinue, nil
	})
	for _, link := range links {
		parent := link.Parent()
		for child := link.FirstChild(); child != nil; child = link.FirstChild() {
			parent.InsertBefore(parent, link, child)
		}
		parent.RemoveChild(parent, link)
	}
	var out bytes.Buffer
	if err := newMarkdown().Renderer().Render(&out, text, doc); err != nil {
		return template.HTML("<pre>" + template.HTMLEscapeString(source) + "</pre>") //nolint:gosec // escaped
	}
	return template.HTML(out.String()) //nolint:gosec // raw HTML is left out
}
