package web

import (
	"testing"
	"text/template/parse"
)

// A template that is called without a value sees nothing, and shows what it shows of nothing: no error tells of it.
func TestPages_EachPartThatShowsAValueIsGivenOne(t *testing.T) {
	for _, page := range pages.Templates() {
		if page.Tree == nil { // the one that holds the others
			continue
		}
		walk(page.Tree.Root, func(n parse.Node) {
			call, is := n.(*parse.TemplateNode)
			if !is || call.Pipe != nil {
				return
			}
			walk(pages.Lookup(call.Name).Tree.Root, func(n parse.Node) {
				if _, shows := n.(*parse.ActionNode); shows {
					t.Errorf("%s: %s shows a value, and is given none", page.Name(), call)
				}
				if _, asks := n.(*parse.IfNode); asks {
					t.Errorf("%s: %s asks for a value, and is given none", page.Name(), call)
				}
			})
		})
	}
}

// walk calls fn for a node and all below it.
func walk(n parse.Node, fn func(parse.Node)) {
	fn(n)
	var branch *parse.BranchNode
	switch n := n.(type) {
	case *parse.ListNode:
		for _, below := range n.Nodes {
			walk(below, fn)
		}
	case *parse.IfNode:
		branch = &n.BranchNode
	case *parse.RangeNode:
		branch = &n.BranchNode
	case *parse.WithNode:
		branch = &n.BranchNode
	}
	if branch == nil {
		return
	}
	walk(branch.List, fn)
	if branch.ElseList != nil {
		walk(branch.ElseList, fn)
	}
}
