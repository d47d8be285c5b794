package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"tutela/server/access"
	"tutela/server/operator"
	"tutela/storage/legible"
)

// receiptCmd is "tutela receipt".
type receiptCmd struct {
	Verify receiptVerifyCmd `cmd:"" help:"Check the signature of a receipt, and say what it proves."`
}

type receiptVerifyCmd struct {
	dataFlags
	File string `arg:"" help:"The receipt as it was printed or answered, or its signature alone; - is standard input."`
	JWKS file   `name:"jwks" placeholder:"FILE" help:"The installation's key set, saved from /.well-known/jwks.json. Then nothing else is needed."`
	JSON bool   `name:"json" help:"Print what was signed, as JSON."`
}

// Help is the long help of "tutela receipt verify".
func (receiptVerifyCmd) Help() string {
	return `A receipt proves who reset whom, when and why, and how many records of what were removed. Exit status 0: it is genuine.

  tutela receipt verify maria-receipt.json
  curl -o jwks.json https://mfa.example.com/.well-known/jwks.json
  tutela receipt verify maria-receipt.json --jwks jwks.json      on any machine, for ever: the keys of receipts stay`
}

// maxReceiptBytes bounds a receipt and a key set.
const maxReceiptBytes = 1 << 20

// Run verifies the receipt.
func (c *receiptVerifyCmd) Run(ctx context.Context) error {
	content, err := readSmall(c.File)
	if err != nil {
		return err
	}
	jwks, err := c.keySet(ctx)
	if err != nil {
		return err
	}
	receipt, signed, err := access.CheckReceipt(content, jwks)
	if err != nil {
		return err
	}
	if c.JSON {
		_, err := os.Stdout.Write(append(signed, '\n'))
		return err
	}
	fmt.Printf("The receipt %s is genuine.\n\n", receipt.ID)
	fmt.Printf("  user    %s\n  reset   %s\n  by      %s\n  reason  %s\n", plain(receipt.UserID),
		receipt.At.Local().Format("2006-01-02 15:04:05 MST"), plain(receipt.By), legible.Escape(receipt.Reason))
	if receipt.CallerCheck != "" {
		fmt.Printf("  caller  %s\n", strings.ReplaceAll(receipt.CallerCheck, "_", " "))
	}
	fmt.Println()
	sayReceipt(os.Stdout, receipt)
	return nil
}

func readSmall(path string) ([]byte, error) {
	in := os.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close() //nolint:errcheck // only read
		in = f
	}
	content, err := io.ReadAll(io.LimitReader(in, maxReceiptBytes+1))
	if err == nil && len(content) > maxReceiptBytes {
		err = fmt.Errorf("%s is too large to be a receipt or a key set", path)
	}
	return bytes.TrimPrefix(content, []byte("\uFEFF")), err // a byte order mark, as some editors write it
}

// keySet returns the key set of --jwks or, without it, the installation's.
func (c *receiptVerifyCmd) keySet(ctx context.Context) (jwks []byte, err error) {
	if c.JWKS != "" {
		return readSmall(string(c.JWKS))
	}
	err = c.operate(ctx, installation{}, func(s operator.Service) error {
		document, err := operator.ReadJWKS.Do(ctx, s, operator.None{})
		jwks = document
		return err
	})
	return jwks, err
}
