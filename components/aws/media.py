"""A private bucket on Amazon S3 for what visitors upload."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.aws.offer import Offer
from planning import policies

if TYPE_CHECKING:
    from components.aws.cloud import Cloud
    from components.server.aws import Aws

ENDING = "-media-"
LONGEST_PREFIX = 37
"""Characters; the name is random from there on (Amazon S3 User Guide, "Bucket naming rules": 63 in all)."""

UNFINISHED_DAYS = 7
"""After which uploads that were never finished are removed."""


class Media(pulumi.ComponentResource):
    """The bucket of a stack: versioned, encrypted, closed to the public; the machines alone use it, by their role.

    Attributes:
        offer: its name and region.
    """

    offer: Offer

    def __init__(self, server: Aws, opts: pulumi.ResourceOptions | None = None) -> None:
        """Make it, and let the machines use it."""
        cloud = server.cloud
        wanted, name = cloud.settings.media, f"{cloud.app}-media"
        super().__init__("flaskhost:data:Media", cloud.app, None, opts)
        # What closes the bucket stays as long as the bucket.
        options = cloud.holds(self)
        bucket = aws.s3.Bucket(
            name,
            bucket_prefix=f"{cloud.slug[: LONGEST_PREFIX - len(ENDING)]}{ENDING}",
            force_destroy=cloud.settings.purge,
            tags=cloud.tags("media"),
            opts=options,
        )
        closed = aws.s3.BucketPublicAccessBlock(
            name,
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=options,
        )
        aws.s3.BucketOwnershipControls(
            name,
            bucket=bucket.id,
            rule=aws.s3.BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced"),
            opts=options,
        )
        versioned = aws.s3.BucketVersioning(
            name,
            bucket=bucket.id,
            versioning_configuration=aws.s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
            opts=options,
        )
        encryption = aws.s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
            sse_algorithm="AES256"
        )
        aws.s3.BucketServerSideEncryptionConfiguration(
            name,
            bucket=bucket.id,
            rules=[
                aws.s3.BucketServerSideEncryptionConfigurationRuleArgs(
                    apply_server_side_encryption_by_default=encryption
                )
            ],
            opts=options,
        )
        aws.s3.BucketPolicy(
            name,
            bucket=bucket.id,
            policy=bucket.arn.apply(policies.only_encrypted),
            # S3 takes one change of a bucket's access at a time.
            opts=cloud.holds(self, pulumi.ResourceOptions(depends_on=[closed])),
        )
        self._lifecycle(cloud, bucket, versioned)
        if wanted.cors_origins:
            self._cors(name, bucket, wanted.cors_origins)
        usable = server.identity.allow("media", bucket.arn.apply(policies.bucket))
        values = {wanted.variable: bucket.id, wanted.region_variable: cloud.place.region}
        self.offer = Offer(values=values, after=(bucket, usable))
        self.register_outputs({"bucket": bucket.id})

    def _lifecycle(self, cloud: Cloud, bucket: aws.s3.Bucket, versioned: pulumi.Resource) -> None:
        """Have what was overwritten or deleted, and what was never finished, go after a while."""
        days = cloud.settings.media.keep_versions
        aws.s3.BucketLifecycleConfiguration(
            f"{cloud.app}-media",
            bucket=bucket.id,
            rules=[
                aws.s3.BucketLifecycleConfigurationRuleArgs(
                    id="tidy",
                    status="Enabled",
                    filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
                    noncurrent_version_expiration=(
                        aws.s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(noncurrent_days=days)
                    ),
                    abort_incomplete_multipart_upload=(
                        aws.s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
                            days_after_initiation=UNFINISHED_DAYS
                        )
                    ),
                )
            ],
            opts=cloud.holds(self, pulumi.ResourceOptions(depends_on=[versioned])),
        )

    def _cors(self, name: str, bucket: aws.s3.Bucket, origins: tuple[str, ...]) -> None:
        rule = aws.s3.BucketCorsConfigurationCorsRuleArgs(
            allowed_origins=list(origins),
            allowed_methods=["GET", "HEAD", "PUT", "POST"],
            allowed_headers=["*"],
            expose_headers=["ETag"],
            max_age_seconds=3600,
        )
        aws.s3.BucketCorsConfiguration(
            name, bucket=bucket.id, cors_rules=[rule], opts=pulumi.ResourceOptions(parent=self)
        )
