package boltfile

import (
	"bytes"
	"slices"
	"sync/atomic"
)

// maxDepth bounds the way down a tree: with the fewest two children a branch, no file has more levels.
const maxDepth = 64

// tree goes through pages of one bucket. For one goroutine.
type tree struct {
	*walker
	entry     func(*page, element) error // called for each entry of a leaf
	leafDepth *atomic.Int64              // depth of the leaves seen so far plus one, shared by all goroutines; 0: none seen
	spare     [][]byte                   // buffers of pages that are done with
}

func (w *walker) tree(leafDepth *atomic.Int64, entry func(*page, element) error) *tree {
	return &tree{walker: w, entry: entry, leafDepth: leafDepth}
}

// subtree is a page and all below it. Its keys must lie in [from, to); a nil bound is none.
type subtree struct {
	id       uint64
	from, to []byte
	depth    int
}

// visit goes through a subtree.
func (t *tree) visit(s subtree) error { return t.open(s, t.visit) }

// open goes through the topmost page of s, and calls below for each subtree under it, in order.
func (t *tree) open(s subtree, below func(subtree) error) error {
	if s.depth > maxDepth {
		return flaw("page %d: the tree has no end", s.id)
	}
	p, err := t.page(s.id, t.buffer())
	if err != nil {
		return err
	}
	defer func() { t.spare = append(t.spare, p.head) }()
	switch p.flags {
	case branchFlag:
		return t.branch(p, s, below)
	case leafFlag:
		depth := int64(s.depth) + 1
		if !t.leafDepth.CompareAndSwap(0, depth) && t.leafDepth.Load() != depth {
			return flaw("page %d: the tree has leaves at different depths", s.id)
		}
		return t.leaf(p, s)
	}
	return flaw("page %d: type %#x in a tree", s.id, p.flags)
}

// buffer returns room for a page. A page that nobody looks at any more gives it back to spare.
func (t *tree) buffer() []byte {
	n := len(t.spare)
	if n == 0 {
		return make([]byte, t.pageSize)
	}
	b := t.spare[n-1]
	t.spare = t.spare[:n-1]
	return b
}

// leaf goes through the entries of a leaf.
func (t *tree) leaf(p *page, s subtree) error {
	from := s.from
	for i := range p.count {
		e, err := p.element(i)
		if err != nil {
			return err
		}
		key, err := p.bytes(e.key, e.keySize)
		if err != nil {
			return err
		}
		if err := inOrder(p, i, key, from, s.to); err != nil {
			return err
		}
		if err := t.entry(p, e); err != nil {
			return err
		}
		from = key
	}
	return nil
}

// branch goes through the children of a branch, each of which has the keys from its own to the next child's.
func (t *tree) branch(p *page, s subtree, below func(subtree) error) error {
	if p.count == 0 {
		return flaw("page %d: a branch without children", p.id)
	}
	child := subtree{from: s.from, depth: s.depth + 1}
	for i := range p.count {
		e, err := p.element(i)
		if err != nil {
			return err
		}
		key, err := p.bytes(e.key, e.keySize)
		if err != nil {
			return err
		}
		if err := inOrder(p, i, key, child.from, s.to); err != nil {
			return err
		}
		key = slices.Clone(key)
		if i > 0 {
			child.to = key
			if err := below(child); err != nil {
				return err
			}
		}
		child.id = e.child
		child.from = key
	}
	child.to = s.to
	return below(child)
}

// inOrder checks that key i of a page comes after the key before it (the first one: not before the page's own key), and
// before the end of the page's range.
func inOrder(p *page, i int, key, before, to []byte) error {
	order := bytes.Compare(before, key)
	if order > 0 || order == 0 && i > 0 || to != nil && bytes.Compare(key, to) >= 0 {
		return flaw("page %d: key %d is out of order", p.id, i)
	}
	return nil
}
