//! Whether the certificate that the API shows is readable and good for a while. Muster's own renew themselves at
//! each start; this looks at those an operator gave.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use muster_orchestrator::config::ApiTls;
use x509_parser::pem::Pem;

use super::Verdict;

/// How long before its end a certificate is to be renewed.
const SOON: Duration = Duration::from_hours(14 * 24);

pub(super) fn check(tls: Option<&ApiTls>) -> Verdict {
    let files = match tls {
        None => return Verdict::Skipped("the API speaks plain HTTP (api.tls is not set)".to_owned()),
        Some(ApiTls::Own) => return Verdict::Ok("Muster's own, made anew at each start".to_owned()),
        Some(ApiTls::Given(files)) => files,
    };
    let path = files.certificate.display();
    if let Err(error) = std::fs::metadata(&files.key) {
        return Verdict::Problem(format!(
            "the key {} cannot be read: {error}; mend api.tls.key, or its permissions",
            files.key.display()
        ));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    match std::fs::read(&files.certificate) {
        Err(error) => Verdict::Problem(format!(
            "the certificate {path} cannot be read: {error}; mend api.tls.certificate, or its permissions"
        )),
        Ok(pem) => judge(&path.to_string(), &pem, now),
    }
}

fn judge(path: &str, pem: &[u8], now: Duration) -> Verdict {
    let first = Pem::iter_from_buffer(pem).next().and_then(Result::ok);
    let Some(leaf) = first.as_ref().and_then(|pem| pem.parse_x509().ok()) else {
        let words = "is no certificate; api.tls.certificate must be a PEM file of the chain, the leaf first";
        return Verdict::Problem(format!("{path} {words}"));
    };
    let validity = leaf.validity();
    let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let now_s = now.as_secs().cast_signed();
    if now_s < from {
        return Verdict::Problem(format!(
            "{path} is not good before {}; see whether this machine's clock is right",
            validity.not_before
        ));
    }
    if now_s >= to {
        return Verdict::Problem(format!(
            "{path} has expired at {}; renew it and restart the orchestrator",
            validity.not_after
        ));
    }
    if to - now_s < SOON.as_secs().cast_signed() {
        return Verdict::Problem(format!(
            "{path} expires at {}; renew it and restart the orchestrator before then",
            validity.not_after
        ));
    }
    Verdict::Ok(format!("{path} is good until {}", validity.not_after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_soon_or_is_over_or_is_none_is_a_problem() {
        let day = Duration::from_hours(24);
        let mut params = rcgen::CertificateParams::new(["play.example".to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(2030, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, 4, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("signed").pem();
        // 2030-01-01, in days since 1970.
        let begin = day * 21_915;
        let of = |now| match judge("api.pem", pem.as_bytes(), now) {
            Verdict::Ok(words) => format!("ok: {words}"),
            Verdict::Problem(words) | Verdict::Skipped(words) => words,
        };
        assert!(of(day * 21_914).contains("not good before"));
        assert!(of(begin + day).starts_with("ok: "), "{}", of(begin + day));
        assert!(of(begin + day * 80).contains("expires at"), "{}", of(begin + day * 80));
        assert!(of(begin + day * 91).contains("has expired"));
        assert!(matches!(judge("api.pem", b"nonsense", begin), Verdict::Problem(_)));
    }
}
