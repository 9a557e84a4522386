#pragma once
// PKCS#11's names, from p11-kit's header in its CK_ spelling. Only hsm/ and its tests include this.

#define CRYPTOKI_COMPAT 1
#include <p11-kit/pkcs11.h>
