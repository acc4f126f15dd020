/* Hashes of bundles. */
#include "models/bundle/verify.h"

#include <errno.h>

#include <openssl/evp.h>

int mdl_sha256(const struct mdl_piece *pieces, size_t count, uint8_t out[MDL_SHA256_BYTES])
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	int good = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL);

	for (size_t i = 0; good && i < count; i++)
		good = EVP_DigestUpdate(context, pieces[i].at, pieces[i].bytes);
	good = good && EVP_DigestFinal_ex(context, out, NULL);
	EVP_MD_CTX_free(context);
	return good ? 0 : -ENOMEM;
}
