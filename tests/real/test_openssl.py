"""OpenSSL's EVP with its own headers: some 500 files that include one another.

The expected values are published ones: FIPS 180-4 for SHA-256, NIST's GCM test vectors,
RFC 7748 for X25519, RFC 8032 for Ed25519, RFC 6070 for PBKDF2; Python's hashlib beside
them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import libferry

from .places import needs

CRYPTO = "/usr/lib/x86_64-linux-gnu/libcrypto.so.3"
HEADER = Path("/usr/include/openssl/evp.h")
SYSTEM = ["/usr/include", "/usr/include/x86_64-linux-gnu"]
pytestmark = [
    needs(CRYPTO, "apt-get install libssl3"),
    needs(str(HEADER), "apt-get install libssl-dev"),
    pytest.mark.needs("ziglang", install="pip install 'libferry[headers]'"),
]

INCLUDES = """
#include <openssl/evp.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/core_names.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
"""


@pytest.fixture(scope="module", params=["in-process", "worker"])
def lib(request: pytest.FixtureRequest) -> Iterator[libferry.Library]:
    with libferry.load(CRYPTO, header=INCLUDES, include=SYSTEM, isolation=request.param) as library:
        yield library


def digest(lib: libferry.Library, name: str, *pieces: bytes) -> bytes:
    context = lib.EVP_MD_CTX_new()
    assert lib.EVP_DigestInit_ex(context, lib.EVP_get_digestbyname(name), None) == 1
    for piece in pieces:
        assert lib.EVP_DigestUpdate(context, piece, len(piece)) == 1
    result, length = bytearray(lib.EVP_MAX_MD_SIZE), lib.new("unsigned int")
    assert lib.EVP_DigestFinal_ex(context, result, length) == 1
    lib.EVP_MD_CTX_free(context)
    return bytes(result[: length.value])


def test_header_and_library_agree(lib: libferry.Library) -> None:
    assert lib.OpenSSL_version_num() == lib.OPENSSL_VERSION_NUMBER
    assert lib.OpenSSL_version(lib.OPENSSL_VERSION) == lib.OPENSSL_VERSION_TEXT
    assert lib.EVP_MAX_MD_SIZE == 64


def test_one_header_finds_those_beside_it() -> None:
    with libferry.load(CRYPTO, header=HEADER, isolation="worker") as lib:
        assert lib.EVP_MD_get_size(lib.EVP_sha256()) == 32


def test_sha256(lib: libferry.Library) -> None:
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest(lib, "SHA256", b"abc").hex() == abc
    assert digest(lib, "SHA256", b"a", b"", b"bc").hex() == abc
    million = hashlib.sha256(b"a" * 1_000_000).digest()
    assert digest(lib, "SHA256", *[b"a" * 1000] * 1000) == million


@pytest.mark.parametrize("name", ["sha1", "sha224", "sha384", "sha512", "sha3_256", "blake2b"])
def test_other_digests_are_pythons(lib: libferry.Library, name: str) -> None:
    theirs = {"sha3_256": "SHA3-256", "blake2b": "BLAKE2b512"}.get(name, name)
    assert digest(lib, theirs, b"libferry") == hashlib.new(name, b"libferry").digest()


def test_a_digest_in_one_call(lib: libferry.Library) -> None:
    result, length = lib.new("unsigned char[64]"), lib.new("unsigned int")
    assert lib.EVP_Digest(b"abc", 3, result, length, lib.EVP_sha512(), None) == 1
    assert bytes(result) == hashlib.sha512(b"abc").digest()
    assert length.value == 64


# NIST SP 800-38D's test vectors (gcmEncryptExtIV256), case 16 of the GCM paper.
KEY = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
NONCE = bytes.fromhex("cafebabefacedbaddecaf888")
EXTRA = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
PLAIN = bytes.fromhex(
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
)
CIPHER = bytes.fromhex(
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
)
TAG = bytes.fromhex("76fc6ece0f4e1768cddf8853bb2d551b")


def test_aes_gcm_encrypts(lib: libferry.Library) -> None:
    context, done = lib.EVP_CIPHER_CTX_new(), lib.new("int")
    result, tag = bytearray(len(PLAIN)), bytearray(16)
    assert lib.EVP_EncryptInit_ex(context, lib.EVP_aes_256_gcm(), None, KEY, NONCE) == 1
    assert lib.EVP_EncryptUpdate(context, None, done, EXTRA, len(EXTRA)) == 1
    assert lib.EVP_EncryptUpdate(context, result, done, PLAIN, len(PLAIN)) == 1
    assert done.value == len(PLAIN)
    assert lib.EVP_EncryptFinal_ex(context, bytearray(16), done) == 1
    assert lib.EVP_CIPHER_CTX_ctrl(context, lib.EVP_CTRL_AEAD_GET_TAG, 16, tag) == 1
    lib.EVP_CIPHER_CTX_free(context)
    assert (bytes(result), bytes(tag)) == (CIPHER, TAG)


@pytest.mark.parametrize(("tag", "expected"), [(TAG, 1), (TAG[::-1], 0)])
def test_aes_gcm_decrypts_what_is_genuine(lib: libferry.Library, tag: bytes, expected: int) -> None:
    context, done = lib.EVP_CIPHER_CTX_new(), lib.new("int")
    result = bytearray(len(CIPHER))
    assert lib.EVP_DecryptInit_ex(context, lib.EVP_aes_256_gcm(), None, KEY, NONCE) == 1
    assert lib.EVP_DecryptUpdate(context, None, done, EXTRA, len(EXTRA)) == 1
    assert lib.EVP_DecryptUpdate(context, result, done, CIPHER, len(CIPHER)) == 1
    given = bytearray(tag)
    assert lib.EVP_CIPHER_CTX_ctrl(context, lib.EVP_CTRL_AEAD_SET_TAG, 16, given) == 1
    assert lib.EVP_DecryptFinal_ex(context, bytearray(16), done) == expected
    lib.EVP_CIPHER_CTX_free(context)
    assert bytes(result) == PLAIN


def test_a_password_becomes_a_key(lib: libferry.Library) -> None:
    key = bytearray(20)
    args = (b"password", 8, b"salt", 4, 4096, lib.EVP_sha1(), 20, key)
    assert lib.PKCS5_PBKDF2_HMAC(*args) == 1
    assert key.hex() == "4b007901b765489abead49d926f721d065a429c1"  # RFC 6070


def test_a_mac_takes_structs_that_are_made_by_value(lib: libferry.Library) -> None:
    """OSSL_PARAM_construct_... give a struct of 40 bytes, and an array of them goes in.

    It keeps the pointers it gets, so what they lead to has to last.
    """
    mac = lib.EVP_MAC_fetch(None, "HMAC", None)
    context = lib.EVP_MAC_CTX_new(mac)
    which, name = lib.new("char[7]", lib.OSSL_MAC_PARAM_DIGEST), lib.new("char[7]", "SHA256")
    chosen = lib.OSSL_PARAM_construct_utf8_string(which, name, 0)
    assert chosen.key.address == which.address
    assert chosen.data_type == lib.OSSL_PARAM_UTF8_STRING
    assert chosen.data_size == 6
    params = lib.new("OSSL_PARAM[2]", [chosen, lib.OSSL_PARAM_construct_end()])
    assert lib.EVP_MAC_init(context, b"key", 3, params) == 1
    assert lib.EVP_MAC_update(context, b"message", 7) == 1
    result, length = bytearray(64), lib.new("size_t")
    assert lib.EVP_MAC_final(context, result, length, len(result)) == 1
    lib.EVP_MAC_CTX_free(context)
    lib.EVP_MAC_free(mac)
    assert result[: length.value] == hmac.digest(b"key", b"message", "sha256")


def test_x25519(lib: libferry.Library) -> None:
    nine = bytes([9]) + bytes(31)  # RFC 7748, 5.2: the vector that is iterated, once
    private = lib.EVP_PKEY_new_raw_private_key(lib.EVP_PKEY_X25519, None, nine, 32)
    public = lib.EVP_PKEY_new_raw_public_key(lib.EVP_PKEY_X25519, None, nine, 32)
    context = lib.EVP_PKEY_CTX_new(private, None)
    assert lib.EVP_PKEY_derive_init(context) == 1
    assert lib.EVP_PKEY_derive_set_peer(context, public) == 1
    secret, length = bytearray(32), lib.new("size_t", 32)
    assert lib.EVP_PKEY_derive(context, secret, length) == 1
    assert secret.hex() == "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"
    lib.EVP_PKEY_CTX_free(context)
    lib.EVP_PKEY_free(private)
    lib.EVP_PKEY_free(public)


# RFC 8032, 7.1, test 1: the empty message.
ED25519_SECRET = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
ED25519_PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
ED25519_SIGNATURE = bytes.fromhex(
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
    "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
)


@pytest.fixture
def key(lib: libferry.Library) -> Iterator[Any]:
    key = lib.EVP_PKEY_new_raw_private_key(lib.EVP_PKEY_ED25519, None, ED25519_SECRET, 32)
    yield key
    lib.EVP_PKEY_free(key)


def test_ed25519_signs_and_verifies(lib: libferry.Library, key: Any) -> None:
    public, length = bytearray(32), lib.new("size_t", 32)
    assert lib.EVP_PKEY_get_raw_public_key(key, public, length) == 1
    assert public == ED25519_PUBLIC
    context = lib.EVP_MD_CTX_new()
    signature, length = bytearray(64), lib.new("size_t", 64)
    assert lib.EVP_DigestSignInit(context, None, None, None, key) == 1
    assert lib.EVP_DigestSign(context, signature, length, b"", 0) == 1
    assert signature == ED25519_SIGNATURE
    assert lib.EVP_MD_CTX_reset(context) == 1
    assert lib.EVP_DigestVerifyInit(context, None, None, None, key) == 1
    assert lib.EVP_DigestVerify(context, signature, 64, b"", 0) == 1
    assert lib.EVP_DigestVerify(context, signature, 64, b"other", 5) == 0
    lib.EVP_MD_CTX_free(context)


def test_python_knows_the_password(lib: libferry.Library, key: Any) -> None:
    """A callback writes the password where OpenSSL has room for it."""
    asked = []

    def tell(room: Any, size: int, writing: int, data: Any) -> int:
        asked.append((size, writing, data))
        for index, byte in enumerate(b"swordfish"):
            room[index] = byte
        return len(b"swordfish")

    bio = lib.BIO_new(lib.BIO_s_mem())
    status = lib.PEM_write_bio_PrivateKey(bio, key, lib.EVP_aes_256_cbc(), None, 0, tell, None)
    assert status == 1
    text = lib.out("char *")
    length = lib.BIO_ctrl(bio, lib.BIO_CTRL_INFO, 0, text)
    pem: Any = text.value
    assert pem.read(length).startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    back = lib.PEM_read_bio_PrivateKey(bio, None, tell, None)
    assert [writing for _, writing, _ in asked] == [1, 0]
    secret, length = bytearray(32), lib.new("size_t", 32)
    assert lib.EVP_PKEY_get_raw_private_key(back, secret, length) == 1
    assert secret == ED25519_SECRET
    lib.EVP_PKEY_free(back)
    assert lib.BIO_free(bio) == 1


def test_digests_are_listed_by_a_callback(lib: libferry.Library) -> None:
    names = []

    def tell(digest: Any, data: Any) -> None:
        names.append(lib.EVP_MD_get0_name(digest))

    lib.EVP_MD_do_all_provided(None, tell, None)
    assert {"SHA2-256", "SHA3-512", "BLAKE2B-512", "MD5"} <= set(names)


def test_errors_are_queued_with_their_reason(lib: libferry.Library) -> None:
    lib.ERR_clear_error()
    assert lib.EVP_MD_fetch(None, "no such digest", None) is None
    code = lib.ERR_peek_error()
    text = bytearray(200)
    lib.ERR_error_string_n(code, text, len(text))
    assert text.split(b"\0")[0].decode().startswith("error:0308010C:")
    assert lib.ERR_lib_error_string(code) == "digital envelope routines"
    told = []

    def tell(line: str, length: int, data: Any) -> int:
        told.append((line, length))
        return 1

    lib.ERR_print_errors_cb(tell, None)
    ((line, length),) = told
    assert len(line) == length
    assert "unsupported" in line
    assert lib.ERR_get_error() == 0


class Broken(Exception):
    pass


def test_an_exception_in_a_password_is_raised(lib: libferry.Library, key: Any) -> None:
    def fail(*_: object) -> int:
        raise Broken

    bio = lib.BIO_new(lib.BIO_s_mem())
    with pytest.raises(Broken):
        lib.PEM_write_bio_PrivateKey(bio, key, lib.EVP_aes_256_cbc(), None, 0, fail, None)
    lib.BIO_free(bio)


def test_formatted_output_to_a_bio(lib: libferry.Library) -> None:
    bio = lib.BIO_new(lib.BIO_s_mem())
    assert lib.BIO_printf(bio, "%s=%d,%ld,%.2f", "x", -1, lib.value("long", 2**40), 0.5) == 23
    room = bytearray(100)
    assert lib.BIO_read(bio, room, 100) == 23
    assert room[:23] == b"x=-1,1099511627776,0.50"
    lib.BIO_free(bio)
