package boltfile

import (
	"bytes"
	"slices"
)

// maxDepth bounds the way down a tree: with the fewest two children a branch, no file has more levels.
const maxDepth = 64

// tree goes through the pages of one bucket.
type tree struct {
	*walker
	entry     func(*page, element) error // called for each entry of a leaf
	leafDepth int                        // of the leaves seen so far; -1: none
}

// visit goes through the pages below id, whose keys must lie in [from, to); a nil bound is none.
func (t *tree) visit(id uint64, from, to []byte, depth int) error {
	if depth > maxDepth {
		return flaw("page %d: the tree has no end", id)
	}
	p, err := t.page(id)
	if err != nil {
		return err
	}
	defer func() { t.spare = append(t.spare, p.head) }()
	switch p.flags {
	case branchFlag:
		return t.branch(p, from, to, depth)
	case leafFlag:
		if t.leafDepth >= 0 && t.leafDepth != depth {
			return flaw("page %d: the tree has leaves at different depths", id)
		}
		t.leafDepth = depth
		return t.leaf(p, from, to)
	}
	return flaw("page %d: type %#x in a tree", id, p.flags)
}

// leaf goes through the entries of a leaf.
func (t *tree) leaf(p *page, from, to []byte) error {
	for i := range p.count {
		e, err := p.element(i)
		if err != nil {
			return err
		}
		key, err := p.bytes(e.key, e.keySize)
		if err != nil {
			return err
		}
		if err := inOrder(p, i, key, from, to); err != nil {
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
func (t *tree) branch(p *page, from, to []byte, depth int) error {
	if p.count == 0 {
		return flaw("page %d: a branch without children", p.id)
	}
	var child uint64
	for i := range p.count {
		e, err := p.element(i)
		if err != nil {
			return err
		}
		key, err := p.bytes(e.key, e.keySize)
		if err != nil {
			return err
		}
		if err := inOrder(p, i, key, from, to); err != nil {
			return err
		}
		if i > 0 {
			if err := t.visit(child, from, key, depth+1); err != nil {
				return err
			}
		}
		from, child = slices.Clone(key), e.child
	}
	return t.visit(child, from, to, depth+1)
}

// inOrder sees that key i of a page comes after the one before it (the first: not before the page's own), and before
// the end of the page's range.
func inOrder(p *page, i int, key, before, to []byte) error {
	order := bytes.Compare(before, key)
	if order > 0 || order == 0 && i > 0 || to != nil && bytes.Compare(key, to) >= 0 {
		return flaw("page %d: key %d is out of order", p.id, i)
	}
	return nil
}
