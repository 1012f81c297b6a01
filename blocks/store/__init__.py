"""Objects in a bucket.

Start at `base`: what a store promises. `s3` is the one implementation over an S3 client,
`clients` builds that client (boto3 for S3, ibm_boto3 for IBM COS); `memory` and `directory` keep
the same promises without a network; tests/contract holds all of them to it.

May import: units, errors. Source: the S3 API reference; docs/reference/stores.md for what servers
really do.
"""
