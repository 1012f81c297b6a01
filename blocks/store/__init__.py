"""Objects in a bucket.

Start at `base`: what a store promises. `s3` is the one implementation over an S3 client,
`clients` builds that client (boto3 for S3, ibm_boto3 for IBM COS); `memory` and `directory` keep
the same promises without a network; tests/contract holds all of them to it.
What a store may not do: `probe` finds out by the `trials` and `protection_trials`, each on a
`bench`; `s3_errors` says what its errors mean.
What protects objects: `encryption` and `kms`, `lock`, `fingerprint`. `throttle` slows down.

May import: units, errors. Source: the S3 API reference; docs/reference/stores.md for what servers
really do.
"""
