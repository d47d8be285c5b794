package managementapi

import (
	"regexp"
	"strings"
)

const (
	maxQueryBytes = 2000
	maxClauses    = 10
)

// clause is one condition of a query: field:"value", field:value*, field:[low TO high], or text without a field.
type clause struct {
	field     string
	value     string
	words     []string // of text without a field: each begins a word of what is sought; a quoted text is one
	prefix    bool
	low, high string // of a range; * is open
	isRange   bool
}

// parseQuery reads a query: clauses joined by AND, in a part of Lucene's syntax.
//
// Errors: errQuery, which says what is not understood.
//
// Source: Auth0 Management API v2, user search query syntax (search engine v3).
func parseQuery(q string) ([]clause, error) {
	if len(q) > maxQueryBytes {
		return nil, errQuery.With("a query has at most %d bytes", maxQueryBytes)
	}
	p := &parser{rest: strings.TrimSpace(q)}
	var clauses []clause
	for p.rest != "" {
		c, err := p.clause()
		if err != nil {
			return nil, err
		}
		if clauses = append(clauses, c); len(clauses) > maxClauses {
			return nil, errQuery.With("a query has at most %d conditions", maxClauses)
		}
		if p.rest == "" {
			break
		}
		if !p.keyword("AND") || p.rest == "" {
			return nil, errQuery.With("conditions are joined by AND, and by nothing else")
		}
	}
	return clauses, nil
}

// escaped is a character that is taken as it is.
var escaped = regexp.MustCompile(`\\.`)

// parser holds the unread rest of a query, without leading space.
type parser struct{ rest string }

func (p *parser) skip(n int) { p.rest = strings.TrimLeft(p.rest[n:], " \t") }

// keyword reads word when it comes next, and reports whether it did.
func (p *parser) keyword(word string) bool {
	after, ok := strings.CutPrefix(p.rest, word)
	if !ok || after != "" && after[0] != ' ' && after[0] != '\t' {
		return false
	}
	p.skip(len(word))
	return true
}

func (p *parser) clause() (clause, error) {
	end := strings.IndexAny(p.rest, ":\" \t\\")
	if end <= 0 || p.rest[end] != ':' {
		return p.text()
	}
	c := clause{field: p.rest[:end]}
	p.rest = p.rest[end+1:]
	switch {
	case p.rest == "" || p.rest[0] == ' ' || p.rest[0] == '\t':
		return c, errQuery.With("%s has no value", c.field)
	case p.rest[0] == '[':
		return p.bounds(c)
	case p.rest[0] == '"':
		return p.quoted(c)
	}
	c.value, c.prefix = p.bare()
	return c, nil
}

// bare reads a word up to the next space, in which \ takes the next character as it is. A star at the end makes it a beginning.
func (p *parser) bare() (word string, prefix bool) {
	end := 0
	var read strings.Builder
	for end < len(p.rest) && p.rest[end] != ' ' && p.rest[end] != '\t' {
		if p.rest[end] == '\\' && end+1 < len(p.rest) {
			read.WriteByte(p.rest[end+1])
			end += 2
			prefix = false
			continue
		}
		if prefix {
			read.WriteByte('*') // it was not the end
		}
		if prefix = p.rest[end] == '*'; !prefix {
			read.WriteByte(p.rest[end])
		}
		end++
	}
	p.skip(end)
	return read.String(), prefix
}

// text reads free text, up to the next AND.
func (p *parser) text() (clause, error) {
	if p.rest[0] == '"' {
		c, err := p.quoted(clause{})
		c.words = []string{c.value}
		return c, err
	}
	var words []string
	for p.rest != "" {
		word := p.rest[:strings.IndexAny(p.rest+" ", " \t")]
		if word == "AND" {
			break
		}
		if word == "OR" || word == "NOT" || strings.ContainsAny(escaped.ReplaceAllString(word, ""), `:"()[]{}`) {
			return clause{}, errQuery.With("%q is not understood: conditions are joined by AND", word)
		}
		plain, _ := p.bare()
		if plain == "" {
			return clause{}, errQuery.With("a star stands behind a word")
		}
		words = append(words, plain)
	}
	if len(words) == 0 {
		return clause{}, errQuery.With("there is no condition before AND")
	}
	return clause{value: strings.Join(words, " "), words: words}, nil
}

// quoted reads a value between quotes, in which \ takes the next character as it is.
func (p *parser) quoted(c clause) (clause, error) {
	var value strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch b := p.rest[i]; {
		case b == '\\' && i+1 < len(p.rest):
			i++
			value.WriteByte(p.rest[i])
		case b == '"':
			c.value = value.String()
			i++
			if strings.HasPrefix(p.rest[i:], "*") {
				c.prefix = true
				i++
			}
			if i < len(p.rest) && p.rest[i] != ' ' && p.rest[i] != '\t' {
				return c, errQuery.With("a space is missing after a quoted value")
			}
			p.skip(i)
			return c, nil
		default:
			value.WriteByte(b)
		}
	}
	return c, errQuery.With("a quote is not closed")
}

// bounds reads [low TO high].
func (p *parser) bounds(c clause) (clause, error) {
	inside, _, closed := strings.Cut(p.rest[1:], "]")
	low, high, ok := strings.Cut(inside, " TO ")
	if !closed || !ok {
		return c, errQuery.With("a range is [low TO high]")
	}
	c.isRange = true
	c.low = strings.TrimSpace(low)
	c.high = strings.TrimSpace(high)
	p.skip(len(inside) + 2)
	return c, nil
}
